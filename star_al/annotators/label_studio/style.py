"""The look of the labelling page: the CSS of the label config.

The question is at the top, the choices with their hotkeys are always visible, and a long text scrolls in its box. Many
choices take the whole width and all the height that the text leaves; a text is aligned as its script is written.
While people label task after task, the panels about regions are hidden, because nobody needs them here. Colours
are Label Studio's own, light or dark. On a server with other class names the page is plainer, but works.
"""

from __future__ import annotations

PAGE, ROWS, SIDE_BY_SIDE, MANY, UNSURE, TEXT_BOX, WHY_LINE = (
    "star-al",
    "star-al-rows",
    "star-al-sides",
    "star-al-many",
    "star-al-unsure",
    "star-al-text",
    "star-al-why",
)
"""CSS classes of the page (always; with one choice a row; with two long choices side by side; with many choices; with
an unsure choice at the end) and of its parts."""

STYLE = """
    .star-al { display: flex; flex-direction: column; gap: 0.75rem; max-width: 50rem; margin: 0 auto;
      max-height: calc(100vh - 11.5rem); }
    .lsf-root_mode_labelstream .star-al { max-height: calc(100vh - 8.75rem); }
    .star-al h3, .star-al h4 { margin: 0 !important; overflow-wrap: anywhere; }
    .star-al h3 { font-size: 1.375rem; }
    .star-al-many { max-width: 90rem; }
    .star-al-text { flex: 0 1000 auto; min-height: 3.75rem; overflow: auto; padding: 1rem 1.25rem;
      border: 1px solid var(--color-neutral-border, #e1ded5); border-radius: 0.5rem;
      background: var(--color-neutral-surface, #f9f8f6); }
    .star-al-text .lsf-htx-richtext { font-size: 1.0625rem; line-height: 1.6; overflow-wrap: anywhere;
      white-space: pre-wrap; tab-size: 4; }
    .star-al-text .lsf-richtext__line, .star-al h3 { display: block; unicode-bidi: plaintext; text-align: start; }
    .star-al-text .lsf-richtext__line { min-height: 1.6em; }
    .star-al-text br { display: none; }
    .star-al-text .lsf-richtext__line { padding: 0; }
    .star-al .lsf-choices { flex: 0 1 auto; min-height: 0; max-height: calc(100vh - 20rem); overflow: auto;
      margin: 0; display: grid; gap: 0.5rem;
      grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
    .star-al-many .lsf-choices { gap: 0.25rem;
      grid-template-columns: repeat(auto-fill, minmax(min(12rem, 100%), 1fr)); }
    .star-al-rows .lsf-choices { grid-template-columns: 1fr; }
    .star-al .lsf-choice, .star-al .lsf-choice__item { margin: 0; height: 100%; }
    .star-al .lsf-choice__checkbox { align-items: center; width: 100%; height: 100%; min-height: 2.5rem; margin: 0;
      padding: 0.375rem 0.75rem; cursor: pointer; font-size: 1rem; border-radius: 0.5rem;
      border: 1px solid var(--color-neutral-border-bold, #cac5b8); }
    .star-al .lsf-choice__checkbox:hover { background: var(--color-primary-emphasis-subtle, #f0f3fe); }
    .star-al .lsf-choice__checkbox:has(input:checked) { background: var(--color-primary-emphasis, #d4dbfb);
      border-color: var(--color-primary-border, #4c5fa9); }
    .star-al .lsf-choice__checkbox:has(input:focus-visible) { outline-offset: -2px;
      outline: 2px solid var(--color-primary-border, #4c5fa9); }
    .star-al .lsf-choice__checkbox span { top: 0; }
    .star-al .lsf-choice__checkbox span:last-child { flex: 1; overflow-wrap: anywhere; }
    .star-al .lsf-choice__checkbox span span { display: flex; align-items: center; gap: 0.75rem; }
    .star-al-rows .lsf-choice__checkbox span { font-weight: 400; }
    .star-al-sides { max-width: 80rem; }
    .star-al-sides .lsf-choices { grid-template-columns: 1fr 1fr; max-height: calc(100vh - 16rem); }
    .star-al-sides .lsf-choice:nth-child(n+3) { grid-column: 1 / -1; }
    .star-al-sides .lsf-choice__checkbox span { font-weight: 400; line-height: 1.5; white-space: pre-wrap;
      unicode-bidi: plaintext; text-align: start; }
    .star-al-sides .lsf-choice__checkbox span span { align-items: flex-start; }
    .star-al-many .lsf-choice__checkbox { min-height: 2rem; padding: 0.125rem 0.5rem; font-size: 0.875rem; }
    .star-al .lsf-hint { flex: none; margin-left: auto; top: 0; }
    .star-al-unsure .lsf-choice:last-child { grid-column: 1; }
    .star-al-unsure .lsf-choice:last-child .lsf-choice__checkbox { border-style: dashed; font-style: italic; }
    .star-al-why h4, .star-al .lsf-hint { font-size: 0.875rem; font-weight: 400;
      color: var(--color-neutral-content-subtler, #6b6860) !important; }
    .lsf-root_mode_labelstream .lsf-editor { width: 100%; }
    .lsf-root_mode_labelstream .lsf-sidepanels { padding: 0 !important; }
    .lsf-root_mode_labelstream .lsf-sidepanels__wrapper { display: none; }
    @media (max-width: 600px) { .lsf-root_mode_labelstream .lsf-history-buttons { display: none; } }
"""
