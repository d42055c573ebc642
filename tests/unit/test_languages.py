"""Texts that are not English are recognised, whatever their length, and English ones are left alone."""

from __future__ import annotations

import pytest

from star_al.data.languages import looks_english

ENGLISH = {
    "sentences": ["I am still waiting on my card.", "How do I know if it is lost?", "Can I track it?"],
    "commands": [
        "set an alarm for ten",
        "play some jazz",
        "what is the weather like today",
        "dim the lights",
    ],
    "SMS": [
        "Ok lar... Joking wif u oni",
        "U dun say so early hor",
        "gr8 thx c u l8r",
        "wat time u comin home?",
    ],
    "headlines": [
        "Stocks fall as oil price rises",
        "Minister resigns over leak",
        "Parliament votes on budget",
    ],
    "code": ["def fit(self, x):\n    return self.model.fit(x)", "for (int i = 0; i < n; i++) sum += a[i];"],
    "names": ["Samsung Galaxy S21 128 GB black", "LEGO Technic 42110 Land Rover Defender"],
    "foreign names": [
        "The mayor of Los Angeles met the president of Côte d'Ivoire.",
        "It was at La Scala in Milan.",
    ],
    "numbers": ["12 34", "5.6"],
    "no letters": ["", "!!! ???"],
}

OTHERS = {
    "German": [
        "Ich warte noch auf meine Karte.",
        "Wie kann ich die Zahlung zurückholen?",
        "Das Konto ist gesperrt.",
    ],
    "German, short": ["Karte kommt nicht an", "Wo ist mein Geld", "PIN vergessen und gesperrt"],
    "German, a few English words": [
        "Das Update ist nicht für mein Handy",
        "Der Login mit dem Browser geht nicht",
    ],
    "Spanish": [
        "¿Dónde está mi tarjeta?",
        "No puedo pagar con el móvil.",
        "Quiero cambiar la clave de la cuenta.",
    ],
    "Spanish, no accents": [
        "donde esta mi tarjeta",
        "no puedo pagar con el movil",
        "quiero cambiar la clave de mi cuenta",
    ],
    "French": [
        "Je n'ai pas reçu ma carte.",
        "Comment puis-je payer avec mon téléphone ?",
        "Le compte est bloqué.",
    ],
    "Italian": [
        "Non ho ancora ricevuto la carta.",
        "Come posso pagare con il telefono?",
        "Il conto è bloccato.",
    ],
    "Portuguese": [
        "Ainda não recebi o meu cartão.",
        "Como posso pagar com o telefone?",
        "A conta está bloqueada.",
    ],
    "Dutch": [
        "Ik heb mijn kaart nog niet ontvangen.",
        "Hoe kan ik het geld terugkrijgen?",
        "Het is een fout van de bank.",
    ],
    "Polish": [
        "Nadal czekam na moją kartę.",
        "Jak mogę odzyskać pieniądze?",
        "Konto jest zablokowane i nie działa.",
    ],
    "Swedish": ["Jag har inte fått mitt kort.", "Hur kan jag betala med telefonen?", "Kontot är spärrat."],
    "Turkish": ["Kartım hâlâ gelmedi.", "Bu ödeme için ne yapmalıyım?", "Hesabım bir gün önce kapandı."],
    "Finnish": [
        "En ole vielä saanut korttiani.",
        "Miten voin maksaa puhelimella?",
        "Tili on lukittu, mutta miksi.",
    ],
    "Vietnamese": ["Tôi vẫn chưa nhận được thẻ của mình.", "Làm thế nào để lấy lại tiền?"],
    "Japanese": ["カードがまだ届きません。", "どうすれば返金できますか。"],
    "Chinese": ["我还没有收到我的卡。", "怎么退款？"],
    "Russian": ["Я всё ещё жду свою карту.", "Как вернуть деньги?"],
    "Arabic": ["ما زلت أنتظر بطاقتي.", "كيف أسترد أموالي؟"],
    "Hindi": ["मैं अभी भी अपने कार्ड का इंतज़ार कर रहा हूँ।"],
    "half German": [
        "I am still waiting on my card.",
        "How do I know if it is lost?",
        "Ich warte noch auf meine Karte.",
        "Wie kann ich die Zahlung zurückholen, und wo ist das Geld?",
    ],
}


@pytest.mark.parametrize("kind", ENGLISH)
def test_english(kind: str) -> None:
    assert looks_english(ENGLISH[kind])


@pytest.mark.parametrize("language", OTHERS)
def test_other_languages(language: str) -> None:
    assert not looks_english(OTHERS[language])


def test_a_few_foreign_texts_do_not_count() -> None:
    assert looks_english([*ENGLISH["sentences"] * 10, *OTHERS["German"]])
