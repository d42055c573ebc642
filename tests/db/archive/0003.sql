-- A database as the program of schema 0003 left it: that of 0002 after its upgrade, with the split of each score.
BEGIN TRANSACTION;
CREATE TABLE adapters (
	sha256 TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	path TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_adapters PRIMARY KEY (sha256)
);
INSERT INTO "adapters" VALUES('66c669aefd5202eff5c8620a19d37e12f4f99750a5c5f2b6baae4a6d8c04d5d2','numpy','adapters/66c669aefd5202eff5c8620a19d37e12f4f99750a5c5f2b6baae4a6d8c04d5d2',726,'2026-11-21 17:40:59.712794');
INSERT INTO "adapters" VALUES('07a1fb400da19c27143ae33066db1809ead11af4eb0d4f4f43be8928aa97acbc','numpy','adapters/07a1fb400da19c27143ae33066db1809ead11af4eb0d4f4f43be8928aa97acbc',923,'2026-11-21 17:41:03.805072');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE annotations (
	campaign_id INTEGER NOT NULL, 
	tool TEXT NOT NULL, 
	external_id TEXT NOT NULL, 
	revision INTEGER NOT NULL, 
	query_id TEXT NOT NULL, 
	value TEXT, 
	skipped BOOLEAN NOT NULL, 
	annotator TEXT, 
	lead_time DOUBLE, 
	created_at DATETIME, 
	mirrored_at DATETIME NOT NULL, withdrawn BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_annotations PRIMARY KEY (campaign_id, tool, external_id, revision), 
	CONSTRAINT fk_annotations_campaign_id_query_id FOREIGN KEY(campaign_id, query_id) REFERENCES queries (campaign_id, query_id)
);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-8359701dbb6ad7140f6b79c4d3a99017',1,'8359701dbb6ad7140f6b79c4d3a99017','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-8e2fe72a515b618b1627c6958de45d24',1,'8e2fe72a515b618b1627c6958de45d24','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-ca1ed73904c0bbfcf723b6a2d7f8772d',1,'ca1ed73904c0bbfcf723b6a2d7f8772d','"sport"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-495c2642207cd939fffe5cef9906d7b3',1,'495c2642207cd939fffe5cef9906d7b3','"sport"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-59e436d0e12209516fe651a5e3cc4f40',1,'59e436d0e12209516fe651a5e3cc4f40','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-ff45726401f5722cc87d41b7b14570c9',1,'ff45726401f5722cc87d41b7b14570c9','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-a5493cfbe4fb318508e0c20adc96d456',1,'a5493cfbe4fb318508e0c20adc96d456',NULL,1,'oracle',NULL,NULL,'2026-11-21 17:40:58.569986',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-affa04ca797e70929f12545570a55f52',1,'affa04ca797e70929f12545570a55f52','"tech"',0,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-dd8e8332975de455d346e8c430c0f401',1,'dd8e8332975de455d346e8c430c0f401',NULL,1,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-26d9402497bbf266db587333d4f3f0b0',1,'26d9402497bbf266db587333d4f3f0b0','"sport"',0,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-6e687d1abf38b03b956297af63708456',1,'6e687d1abf38b03b956297af63708456','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-d7e6ca677101e9a9723ca994a1b6b73f',1,'d7e6ca677101e9a9723ca994a1b6b73f','"tech"',0,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-0231f2b4729cef63d012ded2de1ae246',1,'0231f2b4729cef63d012ded2de1ae246','"tech"',0,'oracle',NULL,NULL,'2026-11-21 17:40:59.431853',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-1588e5cc3f55fd776c10cccd4a3e5ac9',1,'1588e5cc3f55fd776c10cccd4a3e5ac9','"sport"',0,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-93bc741bda0853c685ea8ecac45da144',1,'93bc741bda0853c685ea8ecac45da144',NULL,1,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-66db2d78fa2754eb1f21ce902817122e',1,'66db2d78fa2754eb1f21ce902817122e','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-45d6949638baf7e21a1dcd160fe06f53',1,'45d6949638baf7e21a1dcd160fe06f53',NULL,1,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-1ef067ccbfb37ba935d74fffec74aed7',1,'1ef067ccbfb37ba935d74fffec74aed7','"tech"',0,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
INSERT INTO "annotations" VALUES(1,'oracle','oracle-53bd35b7c64531caa2cae8ae256d1d9d',1,'53bd35b7c64531caa2cae8ae256d1d9d','"business"',0,'oracle',NULL,NULL,'2026-11-21 17:41:03.588508',0);
CREATE TABLE base_scores (
	base_key TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	log_probs BLOB NOT NULL, 
	log_prior BLOB, 
	CONSTRAINT pk_base_scores PRIMARY KEY (base_key, item_id)
)
 WITHOUT ROWID

;
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','0b075119106e1d4226b9c2d1c5286e8b',X'08DFC3ADAB17D2BF82C84D159D58FBBFA1043DA2C6D605C0',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','12eb7de533a57c0739cc0a81562b3782',X'50119B281734F9BFB0092AB5697002C0C0389C1A1A72D7BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','1af2349ca395d6c9404ac7242854454d',X'7A7E23B64EBEF3BFBD6E1581636301C0942E85FF069CE0BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','22c8beeabac6becce23d3079059cf9d5',X'544D8A5BF513F3BF2806A39A51E1E7BF1483944F260EF8BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','241413e94fde24a6d7b435e19d7de279',X'74A97D682462E9BF54FC61F36C51EEBF8A9955C82955FDBF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','36dad7f8938de6beadeffd0aa5bf38ca',X'5082AE9AF432F3BFA0A65A9A07CBE0BFD87CACDE20DF01C0',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','374b9c2a310eb78d93ae51b601b64888',X'BC69F586F6C204C010D314BC1236EFBFB0F6D6D3B53AE3BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','3d05665315e7103e8989a047d4e419f7',X'6887E11128B1E8BF88D20E5FEA9FEBBF320F4E4F753C01C0',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','44b13b2e4190d7684c83cebadf3eeddd',X'E79D29B2667700C0B82EFF2035BADABF6E31EB569CB0F8BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','6520c81b79d42dcd8b83a045f4464c19',X'0CA6A7CAE679F4BFB8731E7AF175E6BF2C09DF9F15C7F7BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','7c45e779d717c4a3f140d672b4d82b9b',X'8C2EABE1307DF0BF4C5AC7A8C137F7BF78D0853A489EECBF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','91b8c7299875919e95fac31950a07db9',X'0C926AED352DFCBF6E52F8EA2C6202C070F4A767A658D4BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','99892954213e8c58f5ba963f4ac25f9a',X'18A7ABD2CC93E1BFACEAE4EC64D6F8BFBC768C5C16E7F8BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','ae5e5a08cae957be280fff9987067ee6',X'80E2ED046ABDE9BFA03E77F29ACFECBF40A531C3AFC3FEBF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','b64c6acc65e6247c7de78522c2d05d7d',X'6EA5C933D78A02C0CC9BA0DC5673F3BFB8540043C514E0BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','bd71b500df4d9567ed55af299cc35fd5',X'EC732F3CD6B8F5BFF81359C298C1E3BF7C0566BDB77BF9BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','be918a2f7f703e2944c32dc45e37258e',X'38EBCFAFCC30FFBF8C33B63A5F6500C0E0FBC793353ED4BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','cb881f7bff933b9da331debf70b6fb65',X'266BC45F478300C0708EEA20D860DABFACB82F71DEE7F8BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','d0d631691fc0bb54c54997fdd6e9e61d',X'20642A936BAEE4BF20421CFA2F8DEFBF80C945AE4A3002C0',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','d855578a6631828c4002d34d129c3f67',X'DEC06652B2DCF0BFBE3D48C00E0BF9BFBC7D8F707019EABF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','e119f2b597313e1fda94dcc24668639a',X'7435BBAF9C7CFDBF500FE2DFBCC1D4BF32C05481CD0D01C0',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','ea7e763a175709fa3049c4052136050d',X'492072CE43DC03C0481A54329E40D2BFB255477C1CDEFCBF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','f518e3752d8ecef94df5ef5301b09b6c',X'785C9D61E544E6BF7E13B8DE17C000C038DD8871301EEFBF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','f75c3e0075cd953f6a23143300c1a7a4',X'7EB5A07409E7F7BF6E599B6159E9F9BFFC0D0BA6C291E1BF',NULL);
INSERT INTO "base_scores" VALUES('numpy-base of sport, business, tech','f90fe082f4fab462d1d26a19934d8367',X'98F62F2A5838E5BFA6D5DEF961FB02C0F8958BFF6701EEBF',NULL);
CREATE TABLE calibration_bins (
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	scaling TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	low DOUBLE NOT NULL, 
	high DOUBLE NOT NULL, 
	count INTEGER NOT NULL, 
	confidence DOUBLE, 
	accuracy DOUBLE, 
	CONSTRAINT pk_calibration_bins PRIMARY KEY (campaign_id, round_index, model, scaling, position), 
	CONSTRAINT fk_calibration_bins_campaign_id_round_index_model_scaling FOREIGN KEY(campaign_id, round_index, model, scaling) REFERENCES evaluations (campaign_id, round_index, model, scaling) ON DELETE CASCADE
);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.95643990142061785508e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',8,5.33333333333333325931e-01,0.6,2,5.71698268135225839969e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',9,0.6,6.66666666666666629659e-01,1,6.62217713954661224562e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','raw',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.88867086439927767127e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',8,5.33333333333333325931e-01,0.6,2,5.63638941998318543369e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',9,0.6,6.66666666666666629659e-01,1,6.50027955828655579217e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'base','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.95643990142061785508e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',8,5.33333333333333325931e-01,0.6,2,5.71698268135225839969e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',9,0.6,6.66666666666666629659e-01,1,6.62217713954661224562e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','raw',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.88867086439927767127e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',8,5.33333333333333325931e-01,0.6,2,5.63638941998318543369e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',9,0.6,6.66666666666666629659e-01,1,6.50027955828655579217e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,0,'adapted','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.95643990142061785508e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',8,5.33333333333333325931e-01,0.6,2,5.71698268135225839969e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',9,0.6,6.66666666666666629659e-01,1,6.62217713954661224562e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','raw',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.88867086439927767127e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',8,5.33333333333333325931e-01,0.6,2,5.63638941998318543369e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',9,0.6,6.66666666666666629659e-01,1,6.50027955828655579217e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'base','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',8,5.33333333333333325931e-01,0.6,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',9,0.6,6.66666666666666629659e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,1,9.24512094360688596594e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','raw',14,9.33333333333333348136e-01,1.0,3,9.75030977637649898248e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',8,5.33333333333333325931e-01,0.6,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',9,0.6,6.66666666666666629659e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,1,7.24983471797196354913e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',11,7.33333333333333281522e-01,0.8,1,7.71030804774692768432e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',12,0.8,8.66666666666666696272e-01,1,8.56580357525569824339e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,1,9.23423606325479262579e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,1,'adapted','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.95643990142061785508e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',8,5.33333333333333325931e-01,0.6,2,5.71698268135225839969e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',9,0.6,6.66666666666666629659e-01,1,6.62217713954661224562e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','raw',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,1,4.88867086439927767127e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',8,5.33333333333333325931e-01,0.6,2,5.63638941998318543369e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',9,0.6,6.66666666666666629659e-01,1,6.50027955828655579217e-01,1.0);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',11,7.33333333333333281522e-01,0.8,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'base','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',7,4.66666666666666674068e-01,5.33333333333333325931e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',8,5.33333333333333325931e-01,0.6,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',9,0.6,6.66666666666666629659e-01,1,6.47354008170314632053e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',10,6.66666666666666629659e-01,7.33333333333333281522e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',11,7.33333333333333281522e-01,0.8,1,7.50541441045629809103e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',12,0.8,8.66666666666666696272e-01,1,8.35869933842323331596e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',13,8.66666666666666696272e-01,9.33333333333333348136e-01,1,8.95124795963066266502e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','raw',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',0,0.0,6.66666666666666657414e-02,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',1,6.66666666666666657414e-02,1.33333333333333331482e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',2,1.33333333333333331482e-01,0.2,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',3,0.2,2.66666666666666662965e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',4,2.66666666666666662965e-01,3.33333333333333314829e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',5,3.33333333333333314829e-01,0.4,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',6,0.4,4.66666666666666674068e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',7,4.66666666666666674068e-01,5.33333333333333325931e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',8,5.33333333333333325931e-01,0.6,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',9,0.6,6.66666666666666629659e-01,1,6.31338808180887056664e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',10,6.66666666666666629659e-01,7.33333333333333281522e-01,1,7.23583978440501374151e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',11,7.33333333333333281522e-01,0.8,1,7.99731763273522133772e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',12,0.8,8.66666666666666696272e-01,0,NULL,NULL);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',13,8.66666666666666696272e-01,9.33333333333333348136e-01,1,8.71316980454377443265e-01,0.0);
INSERT INTO "calibration_bins" VALUES(1,2,'adapted','temperature',14,9.33333333333333348136e-01,1.0,0,NULL,NULL);
CREATE TABLE campaign_items (
	campaign_id INTEGER NOT NULL, 
	item_id TEXT NOT NULL, 
	dataset_id INTEGER NOT NULL, 
	role TEXT NOT NULL, 
	from_round INTEGER NOT NULL, 
	CONSTRAINT pk_campaign_items PRIMARY KEY (campaign_id, item_id), 
	CONSTRAINT ck_campaign_items_role CHECK (role IN ('pool', 'test', 'audit', 'calibration')), 
	CONSTRAINT ck_campaign_items_from_round CHECK (from_round >= 0), 
	CONSTRAINT fk_campaign_items_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaigns (campaign_id), 
	CONSTRAINT fk_campaign_items_dataset_id_item_id FOREIGN KEY(dataset_id, item_id) REFERENCES items (dataset_id, item_id)
)
 WITHOUT ROWID

;
INSERT INTO "campaign_items" VALUES(1,'0b075119106e1d4226b9c2d1c5286e8b',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'12eb7de533a57c0739cc0a81562b3782',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'1af2349ca395d6c9404ac7242854454d',1,'audit',0);
INSERT INTO "campaign_items" VALUES(1,'22c8beeabac6becce23d3079059cf9d5',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'241413e94fde24a6d7b435e19d7de279',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'36dad7f8938de6beadeffd0aa5bf38ca',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'374b9c2a310eb78d93ae51b601b64888',1,'audit',0);
INSERT INTO "campaign_items" VALUES(1,'3d05665315e7103e8989a047d4e419f7',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'3e7ae59adf263cc51e366791b62d740c',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'44b13b2e4190d7684c83cebadf3eeddd',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'6520c81b79d42dcd8b83a045f4464c19',1,'audit',0);
INSERT INTO "campaign_items" VALUES(1,'7c45e779d717c4a3f140d672b4d82b9b',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'91b8c7299875919e95fac31950a07db9',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'94b7aebbc6037c65bb51d6d810b3aa9b',1,'calibration',0);
INSERT INTO "campaign_items" VALUES(1,'96c00e44649200335aefd3c063e9c1f9',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'99892954213e8c58f5ba963f4ac25f9a',1,'calibration',0);
INSERT INTO "campaign_items" VALUES(1,'ae5e5a08cae957be280fff9987067ee6',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'b64c6acc65e6247c7de78522c2d05d7d',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'bd71b500df4d9567ed55af299cc35fd5',1,'calibration',0);
INSERT INTO "campaign_items" VALUES(1,'be918a2f7f703e2944c32dc45e37258e',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'cb881f7bff933b9da331debf70b6fb65',1,'audit',0);
INSERT INTO "campaign_items" VALUES(1,'d0d631691fc0bb54c54997fdd6e9e61d',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'d733728af4d75e9a85fdc8855e68c7ba',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'d855578a6631828c4002d34d129c3f67',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'de15c2e09e1bddfa047f6b8e36f210bc',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'e119f2b597313e1fda94dcc24668639a',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'ea7e763a175709fa3049c4052136050d',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'f518e3752d8ecef94df5ef5301b09b6c',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'f75c3e0075cd953f6a23143300c1a7a4',1,'pool',0);
INSERT INTO "campaign_items" VALUES(1,'f90fe082f4fab462d1d26a19934d8367',1,'pool',0);
CREATE TABLE campaigns (
	campaign_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	dataset_id INTEGER NOT NULL, 
	test_dataset_id INTEGER, 
	config TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	lease_owner TEXT, 
	lease_epoch BIGINT NOT NULL, 
	lease_expires DATETIME, 
	created_at DATETIME NOT NULL, "key" TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_campaigns PRIMARY KEY (campaign_id), 
	CONSTRAINT fk_campaigns_dataset_id FOREIGN KEY(dataset_id) REFERENCES datasets (dataset_id), 
	CONSTRAINT fk_campaigns_test_dataset_id FOREIGN KEY(test_dataset_id) REFERENCES datasets (dataset_id), 
	CONSTRAINT uq_campaigns_name UNIQUE (name)
);
INSERT INTO "campaigns" VALUES(1,'archived',1,NULL,'{"name": "archived", "seed": 7, "data": {"path": "pool.jsonl", "subset": null, "split": "train", "text": "text", "id": "id", "label": null, "options": null}, "task": {"kind": "classification", "labels": [{"name": "sport", "verbaliser": null}, {"name": "business", "verbaliser": null}, {"name": "tech", "verbaliser": null}], "instruction": null, "template": null, "chat_template": true, "answer": "letter", "contextual_calibration": false}, "model": {"name": "model", "revision": null, "dtype": "float32", "device": "cpu", "max_tokens": 96, "batch_tokens": 4096}, "adapter": {"rank": 2, "alpha": 16.0, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "learning_rate": 0.01, "epochs": 1, "min_steps": 0, "batch_size": 8, "warmup_ratio": 0.1, "weight_decay_b": 0.5, "max_grad_norm": 1.0, "warm_start": false}, "posterior": {"kind": "mc_dropout", "samples": 2}, "acquisition": {"measure": "entropy", "blend": {"kind": "schedule", "weight": 0.5, "normalise": "minmax"}, "batch": {"kind": "top_k", "beta": 1.0}, "batch_size": 4, "cold_start": "random", "candidates": null}, "annotator": {"kind": "oracle", "gold": "label", "accuracy": 0.9, "skips": 0.15}, "labelling": {"overlap": 1, "settle": "majority", "skipped": "drop", "disputed": "ask_another", "max_attempts": 3, "close_share": 1.0, "close_after_hours": null, "buffer": 2}, "evaluation": {"kind": "audit", "path": null, "split": "test", "label": null, "size": 4, "calibration": 3, "stop_set": 5}, "stopping": {"max_labels": null, "max_rounds": 2, "target_accuracy": null, "stable_agreement": null, "stable_rounds": 3}, "database": {"url": null, "lease_seconds": 3.0}, "artefacts": null}',7,NULL,1,NULL,'2026-11-21 17:40:58.119083','36542d634c6a4a5db084399a6a7cbbaf');
CREATE TABLE datasets (
	dataset_id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"key" TEXT NOT NULL, 
	name TEXT NOT NULL, 
	importer TEXT NOT NULL, 
	ready BOOLEAN NOT NULL, 
	n_items INTEGER NOT NULL, 
	n_duplicates INTEGER NOT NULL, 
	n_empty INTEGER NOT NULL, 
	created_at DATETIME NOT NULL
);
INSERT INTO "datasets" VALUES(1,'0932f1870f76e8e1f8680738a888068ede05c377773ec375bd05f97dd4467262','pool.jsonl','archive:1',1,30,0,0,'2026-11-21 17:40:57.962077');
CREATE TABLE evaluations (
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	scaling TEXT NOT NULL, 
	split TEXT NOT NULL, 
	n INTEGER NOT NULL, 
	accuracy DOUBLE NOT NULL, 
	accuracy_low DOUBLE NOT NULL, 
	accuracy_high DOUBLE NOT NULL, 
	macro_f1 DOUBLE NOT NULL, 
	recall TEXT NOT NULL, 
	confusion TEXT NOT NULL, 
	nll DOUBLE NOT NULL, 
	brier DOUBLE NOT NULL, 
	ece DOUBLE NOT NULL, 
	ece_equal_mass DOUBLE NOT NULL, 
	temperature DOUBLE NOT NULL, 
	CONSTRAINT pk_evaluations PRIMARY KEY (campaign_id, round_index, model, scaling), 
	CONSTRAINT ck_evaluations_model CHECK (model IN ('base', 'adapted')), 
	CONSTRAINT ck_evaluations_scaling CHECK (scaling IN ('raw', 'contextual', 'temperature')), 
	CONSTRAINT ck_evaluations_split CHECK (split IN ('pool', 'test', 'audit', 'calibration')), 
	CONSTRAINT fk_evaluations_campaign_id_round_index FOREIGN KEY(campaign_id, round_index) REFERENCES rounds (campaign_id, round_index)
);
INSERT INTO "evaluations" VALUES(1,0,'base','raw','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',0.975308633468354,6.39120338890981187773e-01,4.94205703114463046343e-01,0.494205703114463,1.0);
INSERT INTO "evaluations" VALUES(1,0,'base','temperature','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',9.73599165783897935178e-01,6.34346939947232790757e-01,4.91529253651977304784e-01,4.91529253651977304784e-01,1.04213425423839489702e+00);
INSERT INTO "evaluations" VALUES(1,0,'adapted','raw','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',0.975308633468354,6.39120338890981187773e-01,4.94205703114463046343e-01,0.494205703114463,1.0);
INSERT INTO "evaluations" VALUES(1,0,'adapted','temperature','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',9.73599165783897935178e-01,6.34346939947232790757e-01,4.91529253651977304784e-01,4.91529253651977304784e-01,1.04213425423839489702e+00);
INSERT INTO "evaluations" VALUES(1,1,'base','raw','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',0.975308633468354,6.39120338890981187773e-01,4.94205703114463046343e-01,0.494205703114463,1.0);
INSERT INTO "evaluations" VALUES(1,1,'base','temperature','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',9.73599165783897935178e-01,6.34346939947232790757e-01,4.91529253651977304784e-01,4.91529253651977304784e-01,1.04213425423839489702e+00);
INSERT INTO "evaluations" VALUES(1,1,'adapted','raw','audit',4,0.0,0.0,4.89890836454597189408e-01,0.0,'{"sport": 0.0, "business": 0.0, "tech": null}','[[0, 0, 2], [0, 0, 2], [0, 0, 0]]',4.88644875339341577813e+00,1.89268103215580674181e+00,9.6240125681840960059e-01,9.6240125681840960059e-01,1.0);
INSERT INTO "evaluations" VALUES(1,1,'adapted','temperature','audit',4,0.0,0.0,4.89890836454597189408e-01,0.0,'{"sport": 0.0, "business": 0.0, "tech": null}','[[0, 0, 2], [0, 0, 2], [0, 0, 0]]',2.64964337693680906937e+00,1.52973063114513840865e+00,8.1900456010573452481e-01,8.1900456010573452481e-01,1.98219661346468201124e+00);
INSERT INTO "evaluations" VALUES(1,2,'base','raw','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',0.975308633468354,6.39120338890981187773e-01,4.94205703114463046343e-01,0.494205703114463,1.0);
INSERT INTO "evaluations" VALUES(1,2,'base','temperature','audit',4,0.25,0.0455872608097006,0.699358157417598,1.66666666666666657414e-01,'{"sport": 0.0, "business": 0.5, "tech": null}','[[0, 1, 1], [0, 1, 1], [0, 0, 0]]',9.73599165783897935178e-01,6.34346939947232790757e-01,4.91529253651977304784e-01,4.91529253651977304784e-01,1.04213425423839489702e+00);
INSERT INTO "evaluations" VALUES(1,2,'adapted','raw','audit',4,0.0,0.0,4.89890836454597189408e-01,0.0,'{"sport": 0.0, "business": 0.0, "tech": null}','[[0, 0, 2], [0, 0, 2], [0, 0, 0]]',3.81250783449821151194e+00,1.55994433392670450722e+00,7.82222544755333482058e-01,7.82222544755333482058e-01,1.0);
INSERT INTO "evaluations" VALUES(1,2,'adapted','temperature','audit',4,0.0,0.0,4.89890836454597189408e-01,0.0,'{"sport": 0.0, "business": 0.0, "tech": null}','[[0, 0, 2], [0, 0, 2], [0, 0, 0]]',3.46606261772835289036e+00,1.50242012167590122118e+00,7.56492882587322057474e-01,7.56492882587322057474e-01,1.1193879679611327127e+00);
CREATE TABLE events (
	event_id INTEGER NOT NULL, 
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER, 
	step TEXT NOT NULL, 
	message TEXT NOT NULL, 
	seconds DOUBLE, 
	detail TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_events PRIMARY KEY (event_id), 
	CONSTRAINT fk_events_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaigns (campaign_id)
);
INSERT INTO "events" VALUES(1,1,NULL,'prepare','asking 4 audit items, drawn at random',NULL,'{}','2026-11-21 17:40:58.373179');
INSERT INTO "events" VALUES(2,1,NULL,'prepare','asking 3 calibration items, drawn at random',NULL,'{}','2026-11-21 17:40:58.448096');
INSERT INTO "events" VALUES(3,1,0,'fit','no labels yet: the base model stands in',0.00260978900041664,'{}','2026-11-21 17:40:58.797627');
INSERT INTO "events" VALUES(4,1,0,'evaluate','accuracy 0.250 (base 0.250), ECE 0.492, NLL 0.974 on 4 items',2.12893345997144933789e-01,'{}','2026-11-21 17:40:59.077639');
INSERT INTO "events" VALUES(5,1,0,'decide','go on',4.39396040019346401095e-02,'{}','2026-11-21 17:40:59.147735');
INSERT INTO "events" VALUES(6,1,0,'score','not needed',3.07813999825157225131e-04,'{}','2026-11-21 17:40:59.184272');
INSERT INTO "events" VALUES(7,1,0,'select','asking 4 items and 2 in the buffer',2.00573290021566208451e-02,'{}','2026-11-21 17:40:59.267113');
INSERT INTO "events" VALUES(8,1,0,'push','6 open tasks',5.55436689974158070981e-02,'{}','2026-11-21 17:40:59.342344');
INSERT INTO "events" VALUES(9,1,0,'collect','3 labels, 1 skipped',1.88600928999221650883e-01,'{}','2026-11-21 17:40:59.562144');
INSERT INTO "events" VALUES(10,1,1,'fit','trained on 5 labels',7.52060849990812130272e-02,'{}','2026-11-21 17:40:59.735552');
INSERT INTO "events" VALUES(11,1,1,'evaluate','accuracy 0.000 (base 0.250), ECE 0.819, NLL 2.650 on 4 items',1.51781802000186871737e-01,'{}','2026-11-21 17:40:59.944210');
INSERT INTO "events" VALUES(12,1,1,'decide','go on',5.62620740020065568387e-02,'{}','2026-11-21 17:41:00.025976');
INSERT INTO "events" VALUES(13,1,1,'score','scored 17 items',3.21250468899961560964e+00,'{}','2026-11-21 17:41:03.262804');
INSERT INTO "events" VALUES(14,1,1,'select','asking 4 items and 2 in the buffer',3.03277000020898412913e-02,'{}','2026-11-21 17:41:03.365982');
INSERT INTO "events" VALUES(15,1,1,'push','6 open tasks',3.59816529999079648405e-02,'{}','2026-11-21 17:41:03.434190');
INSERT INTO "events" VALUES(16,1,1,'collect','2 labels, 2 skipped',1.96616133001953130587e-01,'{}','2026-11-21 17:41:03.670207');
INSERT INTO "events" VALUES(17,1,2,'fit','trained on 9 labels',5.67398089988273568451e-02,'{}','2026-11-21 17:41:03.827596');
INSERT INTO "events" VALUES(18,1,2,'evaluate','accuracy 0.000 (base 0.250), ECE 0.756, NLL 3.466 on 4 items',1.36524536999786505475e-01,'{}','2026-11-21 17:41:04.028409');
INSERT INTO "events" VALUES(19,1,2,'decide','round limit reached: round 2 of 2',4.85393489980197045952e-02,'{}','2026-11-21 17:41:04.106044');
CREATE TABLE external_tasks (
	campaign_id INTEGER NOT NULL, 
	query_id TEXT NOT NULL, 
	tool TEXT NOT NULL, 
	project TEXT NOT NULL, 
	task TEXT NOT NULL, 
	CONSTRAINT pk_external_tasks PRIMARY KEY (campaign_id, query_id, tool), 
	CONSTRAINT fk_external_tasks_campaign_id_query_id FOREIGN KEY(campaign_id, query_id) REFERENCES queries (campaign_id, query_id), 
	CONSTRAINT uq_external_tasks_campaign_id_tool_project_task UNIQUE (campaign_id, tool, project, task)
);
INSERT INTO "external_tasks" VALUES(1,'8359701dbb6ad7140f6b79c4d3a99017','oracle','oracle','8359701dbb6ad7140f6b79c4d3a99017');
INSERT INTO "external_tasks" VALUES(1,'8e2fe72a515b618b1627c6958de45d24','oracle','oracle','8e2fe72a515b618b1627c6958de45d24');
INSERT INTO "external_tasks" VALUES(1,'ca1ed73904c0bbfcf723b6a2d7f8772d','oracle','oracle','ca1ed73904c0bbfcf723b6a2d7f8772d');
INSERT INTO "external_tasks" VALUES(1,'495c2642207cd939fffe5cef9906d7b3','oracle','oracle','495c2642207cd939fffe5cef9906d7b3');
INSERT INTO "external_tasks" VALUES(1,'59e436d0e12209516fe651a5e3cc4f40','oracle','oracle','59e436d0e12209516fe651a5e3cc4f40');
INSERT INTO "external_tasks" VALUES(1,'ff45726401f5722cc87d41b7b14570c9','oracle','oracle','ff45726401f5722cc87d41b7b14570c9');
INSERT INTO "external_tasks" VALUES(1,'a5493cfbe4fb318508e0c20adc96d456','oracle','oracle','a5493cfbe4fb318508e0c20adc96d456');
INSERT INTO "external_tasks" VALUES(1,'affa04ca797e70929f12545570a55f52','oracle','oracle','affa04ca797e70929f12545570a55f52');
INSERT INTO "external_tasks" VALUES(1,'dd8e8332975de455d346e8c430c0f401','oracle','oracle','dd8e8332975de455d346e8c430c0f401');
INSERT INTO "external_tasks" VALUES(1,'26d9402497bbf266db587333d4f3f0b0','oracle','oracle','26d9402497bbf266db587333d4f3f0b0');
INSERT INTO "external_tasks" VALUES(1,'6e687d1abf38b03b956297af63708456','oracle','oracle','6e687d1abf38b03b956297af63708456');
INSERT INTO "external_tasks" VALUES(1,'d7e6ca677101e9a9723ca994a1b6b73f','oracle','oracle','d7e6ca677101e9a9723ca994a1b6b73f');
INSERT INTO "external_tasks" VALUES(1,'0231f2b4729cef63d012ded2de1ae246','oracle','oracle','0231f2b4729cef63d012ded2de1ae246');
INSERT INTO "external_tasks" VALUES(1,'1588e5cc3f55fd776c10cccd4a3e5ac9','oracle','oracle','1588e5cc3f55fd776c10cccd4a3e5ac9');
INSERT INTO "external_tasks" VALUES(1,'93bc741bda0853c685ea8ecac45da144','oracle','oracle','93bc741bda0853c685ea8ecac45da144');
INSERT INTO "external_tasks" VALUES(1,'66db2d78fa2754eb1f21ce902817122e','oracle','oracle','66db2d78fa2754eb1f21ce902817122e');
INSERT INTO "external_tasks" VALUES(1,'45d6949638baf7e21a1dcd160fe06f53','oracle','oracle','45d6949638baf7e21a1dcd160fe06f53');
INSERT INTO "external_tasks" VALUES(1,'1ef067ccbfb37ba935d74fffec74aed7','oracle','oracle','1ef067ccbfb37ba935d74fffec74aed7');
INSERT INTO "external_tasks" VALUES(1,'53bd35b7c64531caa2cae8ae256d1d9d','oracle','oracle','53bd35b7c64531caa2cae8ae256d1d9d');
CREATE TABLE items (
	dataset_id INTEGER NOT NULL, 
	item_id TEXT NOT NULL, 
	text TEXT NOT NULL, 
	options TEXT, 
	external_id TEXT, 
	fields TEXT NOT NULL, 
	given_label TEXT, 
	CONSTRAINT pk_items PRIMARY KEY (dataset_id, item_id), 
	CONSTRAINT fk_items_dataset_id FOREIGN KEY(dataset_id) REFERENCES datasets (dataset_id) ON DELETE CASCADE
);
INSERT INTO "items" VALUES(1,'3d05665315e7103e8989a047d4e419f7','city in league on trade goal monday report 0',NULL,'row-0-0','{"id": "row-0-0", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'cb881f7bff933b9da331debf70b6fb65','shares chip new a deal city before in report 1',NULL,'row-0-1','{"id": "row-0-1", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'ea7e763a175709fa3049c4052136050d','league before phone a report city in code the 2',NULL,'row-0-2','{"id": "row-0-2", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'241413e94fde24a6d7b435e19d7de279','striker match on final 3',NULL,'row-0-3','{"id": "row-0-3", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'94b7aebbc6037c65bb51d6d810b3aa9b','on said rates a firm after robot report 4',NULL,'row-0-4','{"id": "row-0-4", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'e119f2b597313e1fda94dcc24668639a','new data team a city after phone 5',NULL,'row-0-5','{"id": "row-0-5", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'3e7ae59adf263cc51e366791b62d740c','old report on after cup monday robot league city 6',NULL,'row-0-6','{"id": "row-0-6", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'d855578a6631828c4002d34d129c3f67','team profit city market 7',NULL,'row-0-7','{"id": "row-0-7", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'22c8beeabac6becce23d3079059cf9d5','new market network code 8',NULL,'row-0-8','{"id": "row-0-8", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'6520c81b79d42dcd8b83a045f4464c19','after cup monday in before a match coach 9',NULL,'row-0-9','{"id": "row-0-9", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'99892954213e8c58f5ba963f4ac25f9a','on said profit city a market monday rates the 10',NULL,'row-0-10','{"id": "row-0-10", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'0b075119106e1d4226b9c2d1c5286e8b','on city report old phone code in monday chip 11',NULL,'row-0-11','{"id": "row-0-11", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'44b13b2e4190d7684c83cebadf3eeddd','final coach striker report 12',NULL,'row-0-12','{"id": "row-0-12", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'374b9c2a310eb78d93ae51b601b64888','data the profit rates said 13',NULL,'row-0-13','{"id": "row-0-13", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'91b8c7299875919e95fac31950a07db9','data in robot chip city on after 14',NULL,'row-0-14','{"id": "row-0-14", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'ae5e5a08cae957be280fff9987067ee6','league after bank final 15',NULL,'row-0-15','{"id": "row-0-15", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'de15c2e09e1bddfa047f6b8e36f210bc','bank monday final after before city profit 16',NULL,'row-0-16','{"id": "row-0-16", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'96c00e44649200335aefd3c063e9c1f9','phone before report after code new team said the 17',NULL,'row-0-17','{"id": "row-0-17", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'1af2349ca395d6c9404ac7242854454d','the network monday old in before after goal striker 18',NULL,'row-0-18','{"id": "row-0-18", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'f518e3752d8ecef94df5ef5301b09b6c','the on a market code shares before 19',NULL,'row-0-19','{"id": "row-0-19", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'b64c6acc65e6247c7de78522c2d05d7d','software the goal code 20',NULL,'row-0-20','{"id": "row-0-20", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'f90fe082f4fab462d1d26a19934d8367','before report coach monday after city striker phone new 21',NULL,'row-0-21','{"id": "row-0-21", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'bd71b500df4d9567ed55af299cc35fd5','coach city shares in trade a 22',NULL,'row-0-22','{"id": "row-0-22", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'d0d631691fc0bb54c54997fdd6e9e61d','new report a old on software league data 23',NULL,'row-0-23','{"id": "row-0-23", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'7c45e779d717c4a3f140d672b4d82b9b','team bank cup said 24',NULL,'row-0-24','{"id": "row-0-24", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'36dad7f8938de6beadeffd0aa5bf38ca','profit in on bank report monday the city bank 25',NULL,'row-0-25','{"id": "row-0-25", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'f75c3e0075cd953f6a23143300c1a7a4','robot phone league a 26',NULL,'row-0-26','{"id": "row-0-26", "label": "tech"}',NULL);
INSERT INTO "items" VALUES(1,'d733728af4d75e9a85fdc8855e68c7ba','profit final on old a league in 27',NULL,'row-0-27','{"id": "row-0-27", "label": "sport"}',NULL);
INSERT INTO "items" VALUES(1,'12eb7de533a57c0739cc0a81562b3782','monday final on report before trade a old market 28',NULL,'row-0-28','{"id": "row-0-28", "label": "business"}',NULL);
INSERT INTO "items" VALUES(1,'be918a2f7f703e2944c32dc45e37258e','software phone deal monday after 29',NULL,'row-0-29','{"id": "row-0-29", "label": "tech"}',NULL);
CREATE TABLE labels (
	campaign_id INTEGER NOT NULL, 
	item_id TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	value TEXT NOT NULL, 
	source TEXT NOT NULL, 
	round_index INTEGER, 
	created_at DATETIME NOT NULL, 
	CONSTRAINT pk_labels PRIMARY KEY (campaign_id, item_id, version), 
	CONSTRAINT ck_labels_version CHECK (version >= 1), 
	CONSTRAINT fk_labels_campaign_id_item_id FOREIGN KEY(campaign_id, item_id) REFERENCES campaign_items (campaign_id, item_id)
);
INSERT INTO "labels" VALUES(1,'374b9c2a310eb78d93ae51b601b64888',1,'"business"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'cb881f7bff933b9da331debf70b6fb65',1,'"business"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'1af2349ca395d6c9404ac7242854454d',1,'"sport"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'6520c81b79d42dcd8b83a045f4464c19',1,'"sport"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'bd71b500df4d9567ed55af299cc35fd5',1,'"business"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'99892954213e8c58f5ba963f4ac25f9a',1,'"business"','annotator',0,'2026-11-21 17:40:58.657327');
INSERT INTO "labels" VALUES(1,'91b8c7299875919e95fac31950a07db9',1,'"tech"','annotator',0,'2026-11-21 17:40:59.477894');
INSERT INTO "labels" VALUES(1,'ae5e5a08cae957be280fff9987067ee6',1,'"sport"','annotator',0,'2026-11-21 17:40:59.477894');
INSERT INTO "labels" VALUES(1,'de15c2e09e1bddfa047f6b8e36f210bc',1,'"business"','annotator',0,'2026-11-21 17:40:59.477894');
INSERT INTO "labels" VALUES(1,'96c00e44649200335aefd3c063e9c1f9',1,'"tech"','annotator',0,'2026-11-21 17:40:59.477894');
INSERT INTO "labels" VALUES(1,'d733728af4d75e9a85fdc8855e68c7ba',1,'"tech"','annotator',0,'2026-11-21 17:40:59.477894');
INSERT INTO "labels" VALUES(1,'7c45e779d717c4a3f140d672b4d82b9b',1,'"sport"','annotator',1,'2026-11-21 17:41:03.625202');
INSERT INTO "labels" VALUES(1,'22c8beeabac6becce23d3079059cf9d5',1,'"business"','annotator',1,'2026-11-21 17:41:03.625202');
INSERT INTO "labels" VALUES(1,'f75c3e0075cd953f6a23143300c1a7a4',1,'"tech"','annotator',1,'2026-11-21 17:41:03.625202');
INSERT INTO "labels" VALUES(1,'f518e3752d8ecef94df5ef5301b09b6c',1,'"business"','annotator',1,'2026-11-21 17:41:03.625202');
CREATE TABLE queries (
	campaign_id INTEGER NOT NULL, 
	query_id TEXT NOT NULL, 
	item_id TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	purpose TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	wanted INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	base_uncertainty DOUBLE, 
	adapted_uncertainty DOUBLE, 
	blended DOUBLE, 
	reason TEXT NOT NULL, 
	created_at DATETIME NOT NULL, buffer BOOLEAN DEFAULT 0 NOT NULL, disputed BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_queries PRIMARY KEY (campaign_id, query_id), 
	CONSTRAINT ck_queries_purpose CHECK (purpose IN ('pool', 'test', 'audit', 'calibration')), 
	CONSTRAINT ck_queries_state CHECK (state IN ('open', 'labelled', 'skipped')), 
	CONSTRAINT ck_queries_attempt CHECK (attempt >= 1), 
	CONSTRAINT ck_queries_rank CHECK (rank >= 1), 
	CONSTRAINT ck_queries_wanted CHECK (wanted >= 1), 
	CONSTRAINT fk_queries_campaign_id_item_id FOREIGN KEY(campaign_id, item_id) REFERENCES campaign_items (campaign_id, item_id), 
	CONSTRAINT uq_queries_campaign_id_item_id_attempt UNIQUE (campaign_id, item_id, attempt)
);
INSERT INTO "queries" VALUES(1,'8359701dbb6ad7140f6b79c4d3a99017','374b9c2a310eb78d93ae51b601b64888',1,0,'audit',1,1,'labelled',NULL,NULL,NULL,'{"text": "audit set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.371503',0,0);
INSERT INTO "queries" VALUES(1,'8e2fe72a515b618b1627c6958de45d24','cb881f7bff933b9da331debf70b6fb65',1,0,'audit',2,1,'labelled',NULL,NULL,NULL,'{"text": "audit set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.371503',0,0);
INSERT INTO "queries" VALUES(1,'ca1ed73904c0bbfcf723b6a2d7f8772d','1af2349ca395d6c9404ac7242854454d',1,0,'audit',3,1,'labelled',NULL,NULL,NULL,'{"text": "audit set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.371503',0,0);
INSERT INTO "queries" VALUES(1,'495c2642207cd939fffe5cef9906d7b3','6520c81b79d42dcd8b83a045f4464c19',1,0,'audit',4,1,'labelled',NULL,NULL,NULL,'{"text": "audit set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.371503',0,0);
INSERT INTO "queries" VALUES(1,'59e436d0e12209516fe651a5e3cc4f40','bd71b500df4d9567ed55af299cc35fd5',1,0,'calibration',1,1,'labelled',NULL,NULL,NULL,'{"text": "calibration set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.447593',0,0);
INSERT INTO "queries" VALUES(1,'ff45726401f5722cc87d41b7b14570c9','99892954213e8c58f5ba963f4ac25f9a',1,0,'calibration',2,1,'labelled',NULL,NULL,NULL,'{"text": "calibration set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.447593',0,0);
INSERT INTO "queries" VALUES(1,'a5493cfbe4fb318508e0c20adc96d456','94b7aebbc6037c65bb51d6d810b3aa9b',1,0,'calibration',3,1,'skipped',NULL,NULL,NULL,'{"text": "calibration set: drawn at random at import, never trained on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:58.447593',0,0);
INSERT INTO "queries" VALUES(1,'affa04ca797e70929f12545570a55f52','91b8c7299875919e95fac31950a07db9',1,0,'pool',1,1,'labelled',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',0,0);
INSERT INTO "queries" VALUES(1,'dd8e8332975de455d346e8c430c0f401','3e7ae59adf263cc51e366791b62d740c',1,0,'pool',2,1,'skipped',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',0,0);
INSERT INTO "queries" VALUES(1,'26d9402497bbf266db587333d4f3f0b0','ae5e5a08cae957be280fff9987067ee6',1,0,'pool',3,1,'labelled',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',0,0);
INSERT INTO "queries" VALUES(1,'6e687d1abf38b03b956297af63708456','de15c2e09e1bddfa047f6b8e36f210bc',1,0,'pool',4,1,'labelled',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',0,0);
INSERT INTO "queries" VALUES(1,'d7e6ca677101e9a9723ca994a1b6b73f','96c00e44649200335aefd3c063e9c1f9',1,0,'pool',5,1,'labelled',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',1,0);
INSERT INTO "queries" VALUES(1,'0231f2b4729cef63d012ded2de1ae246','d733728af4d75e9a85fdc8855e68c7ba',1,0,'pool',6,1,'labelled',NULL,NULL,NULL,'{"text": "cold start: drawn at random, there was no label to train on", "measure": null, "base_uncertainty": null, "adapted_uncertainty": null, "blended": null, "blend_weight": null, "predicted": null, "confidence": null}','2026-11-21 17:40:59.248315',1,0);
INSERT INTO "queries" VALUES(1,'1588e5cc3f55fd776c10cccd4a3e5ac9','7c45e779d717c4a3f140d672b4d82b9b',1,1,'pool',1,1,'labelled',1.07339507486259799762e+00,9.81055780195861704129e-01,1.0,'{"text": "rank 1 of 17: blended 1.000 from adapted entropy 0.981 and base entropy 1.073, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 1.073395074862598, "adapted_uncertainty": 0.9810557801958617, "blended": 1.0, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.5702228940800697}','2026-11-21 17:41:03.364530',0,0);
INSERT INTO "queries" VALUES(1,'93bc741bda0853c685ea8ecac45da144','d855578a6631828c4002d34d129c3f67',1,1,'pool',2,1,'skipped',1.05536392025172176545e+00,6.36790955308921491351e-01,0.921208502542886,'{"text": "rank 2 of 17: blended 0.921 from adapted entropy 0.637 and base entropy 1.055, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 1.0553639202517218, "adapted_uncertainty": 0.6367909553089215, "blended": 0.921208502542886, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.7723705800294337}','2026-11-21 17:41:03.364530',0,0);
INSERT INTO "queries" VALUES(1,'66db2d78fa2754eb1f21ce902817122e','22c8beeabac6becce23d3079059cf9d5',1,1,'pool',3,1,'labelled',1.05002312104247663704e+00,0.696194761442157,9.14402614471004460128e-01,'{"text": "rank 3 of 17: blended 0.914 from adapted entropy 0.696 and base entropy 1.050, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 1.0500231210424766, "adapted_uncertainty": 0.696194761442157, "blended": 0.9144026144710045, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.771285262904194}','2026-11-21 17:41:03.364530',0,0);
INSERT INTO "queries" VALUES(1,'45d6949638baf7e21a1dcd160fe06f53','241413e94fde24a6d7b435e19d7de279',1,1,'pool',4,1,'skipped',1.01931392649208629741e+00,5.37950303170968702204e-01,0.824065986934956,'{"text": "rank 4 of 17: blended 0.824 from adapted entropy 0.538 and base entropy 1.019, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 1.0193139264920863, "adapted_uncertainty": 0.5379503031709687, "blended": 0.824065986934956, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.8453212336536869}','2026-11-21 17:41:03.364530',0,0);
INSERT INTO "queries" VALUES(1,'1ef067ccbfb37ba935d74fffec74aed7','f75c3e0075cd953f6a23143300c1a7a4',1,1,'pool',5,1,'labelled',9.73107551338966869636e-01,2.87299294335856825188e-01,6.86855967034856851327e-01,'{"text": "rank 5 of 17: blended 0.687 from adapted entropy 0.287 and base entropy 0.973, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 0.9731075513389669, "adapted_uncertainty": 0.2872992943358568, "blended": 0.6868559670348569, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.9317792457083284}','2026-11-21 17:41:03.364530',1,0);
INSERT INTO "queries" VALUES(1,'53bd35b7c64531caa2cae8ae256d1d9d','f518e3752d8ecef94df5ef5301b09b6c',1,1,'pool',6,1,'labelled',9.72726585275084931758e-01,0.0390972073039106,6.60509309179173942361e-01,'{"text": "rank 6 of 17: blended 0.661 from adapted entropy 0.039 and base entropy 0.973, weight of the adapted model 0.10", "measure": "entropy", "base_uncertainty": 0.9727265852750849, "adapted_uncertainty": 0.0390972073039106, "blended": 0.6605093091791739, "blend_weight": 0.1, "predicted": "tech", "confidence": 0.9942583916251129}','2026-11-21 17:41:03.364530',1,0);
CREATE TABLE round_labels (
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	item_id TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_round_labels PRIMARY KEY (campaign_id, round_index, item_id), 
	CONSTRAINT fk_round_labels_campaign_id_item_id_version FOREIGN KEY(campaign_id, item_id, version) REFERENCES labels (campaign_id, item_id, version), 
	CONSTRAINT fk_round_labels_campaign_id_round_index FOREIGN KEY(campaign_id, round_index) REFERENCES rounds (campaign_id, round_index)
);
INSERT INTO "round_labels" VALUES(1,1,'91b8c7299875919e95fac31950a07db9',1);
INSERT INTO "round_labels" VALUES(1,1,'96c00e44649200335aefd3c063e9c1f9',1);
INSERT INTO "round_labels" VALUES(1,1,'ae5e5a08cae957be280fff9987067ee6',1);
INSERT INTO "round_labels" VALUES(1,1,'d733728af4d75e9a85fdc8855e68c7ba',1);
INSERT INTO "round_labels" VALUES(1,1,'de15c2e09e1bddfa047f6b8e36f210bc',1);
INSERT INTO "round_labels" VALUES(1,2,'22c8beeabac6becce23d3079059cf9d5',1);
INSERT INTO "round_labels" VALUES(1,2,'7c45e779d717c4a3f140d672b4d82b9b',1);
INSERT INTO "round_labels" VALUES(1,2,'91b8c7299875919e95fac31950a07db9',1);
INSERT INTO "round_labels" VALUES(1,2,'96c00e44649200335aefd3c063e9c1f9',1);
INSERT INTO "round_labels" VALUES(1,2,'ae5e5a08cae957be280fff9987067ee6',1);
INSERT INTO "round_labels" VALUES(1,2,'d733728af4d75e9a85fdc8855e68c7ba',1);
INSERT INTO "round_labels" VALUES(1,2,'de15c2e09e1bddfa047f6b8e36f210bc',1);
INSERT INTO "round_labels" VALUES(1,2,'f518e3752d8ecef94df5ef5301b09b6c',1);
INSERT INTO "round_labels" VALUES(1,2,'f75c3e0075cd953f6a23143300c1a7a4',1);
CREATE TABLE rounds (
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	seed BIGINT NOT NULL, 
	config TEXT NOT NULL, 
	versions TEXT NOT NULL, 
	input_hash TEXT, 
	labels INTEGER NOT NULL, 
	labels_bought INTEGER NOT NULL, 
	adapter_sha256 TEXT, 
	samples INTEGER, 
	temperature DOUBLE, 
	base_temperature DOUBLE, 
	temperature_note TEXT, 
	pool_size INTEGER, 
	blend_weight DOUBLE, 
	scores_sha256 TEXT, 
	histograms TEXT NOT NULL, 
	stop_set TEXT NOT NULL, 
	stop_agreement DOUBLE, 
	stop_reason TEXT, 
	asked INTEGER NOT NULL, 
	skipped INTEGER NOT NULL, 
	seconds TEXT NOT NULL, 
	seconds_total DOUBLE NOT NULL, 
	created_at DATETIME NOT NULL, agreement DOUBLE, disputed INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_rounds PRIMARY KEY (campaign_id, round_index), 
	CONSTRAINT ck_rounds_state CHECK (state IN ('started', 'fitted', 'evaluated', 'decided', 'scored', 'selected', 'pushed', 'collected', 'stopped')), 
	CONSTRAINT ck_rounds_round_index CHECK (round_index >= 0), 
	CONSTRAINT fk_rounds_adapter_sha256 FOREIGN KEY(adapter_sha256) REFERENCES adapters (sha256), 
	CONSTRAINT fk_rounds_campaign_id FOREIGN KEY(campaign_id) REFERENCES campaigns (campaign_id)
);
INSERT INTO "rounds" VALUES(1,0,'collected',2359827535310484927,'{"name": "archived", "seed": 7, "data": {"path": "pool.jsonl", "subset": null, "split": "train", "text": "text", "id": "id", "label": null, "options": null}, "task": {"kind": "classification", "labels": [{"name": "sport", "verbaliser": null}, {"name": "business", "verbaliser": null}, {"name": "tech", "verbaliser": null}], "instruction": null, "template": null, "chat_template": true, "answer": "letter", "contextual_calibration": false}, "model": {"name": "model", "revision": null, "dtype": "float32", "device": "cpu", "max_tokens": 96, "batch_tokens": 4096}, "adapter": {"rank": 2, "alpha": 16.0, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "learning_rate": 0.01, "epochs": 1, "min_steps": 0, "batch_size": 8, "warmup_ratio": 0.1, "weight_decay_b": 0.5, "max_grad_norm": 1.0, "warm_start": false}, "posterior": {"kind": "mc_dropout", "samples": 2}, "acquisition": {"measure": "entropy", "blend": {"kind": "schedule", "weight": 0.5, "normalise": "minmax"}, "batch": {"kind": "top_k", "beta": 1.0}, "batch_size": 4, "cold_start": "random", "candidates": null}, "annotator": {"kind": "oracle", "gold": "label", "accuracy": 0.9, "skips": 0.15}, "labelling": {"overlap": 1, "settle": "majority", "skipped": "drop", "disputed": "ask_another", "max_attempts": 3, "close_share": 1.0, "close_after_hours": null, "buffer": 2}, "evaluation": {"kind": "audit", "path": null, "split": "test", "label": null, "size": 4, "calibration": 3, "stop_set": 5}, "stopping": {"max_labels": null, "max_rounds": 2, "target_accuracy": null, "stable_agreement": null, "stable_rounds": 3}, "database": {"url": null, "lease_seconds": 3.0}, "artefacts": null}','{"learner": "numpy", "device": "cpu", "dtype": "float64", "base_key": "numpy-base of sport, business, tech"}','102c32f6781979d8d7eb81e7c4bee91a2b5b4c2fec5dfe199caccf1de292e1c1',0,6,NULL,NULL,1.04213425423839489702e+00,1.04213425423839489702e+00,'fitted on 2 calibration labels',23,NULL,NULL,'{}','{"12eb7de533a57c0739cc0a81562b3782": 2, "36dad7f8938de6beadeffd0aa5bf38ca": 1, "91b8c7299875919e95fac31950a07db9": 2, "ae5e5a08cae957be280fff9987067ee6": 0, "b64c6acc65e6247c7de78522c2d05d7d": 2}',NULL,NULL,4,1,'{"fit": 0.00260978900041664, "evaluate": 0.21289334599714493, "decide": 0.04393960400193464, "score": 0.0003078139998251572, "select": 0.02005732900215662, "push": 0.05554366899741581, "collect": 0.18860092899922165}',5.23952479998115450143e-01,'2026-11-21 17:40:58.733840',NULL,0);
INSERT INTO "rounds" VALUES(1,1,'collected',5242755665840774936,'{"name": "archived", "seed": 7, "data": {"path": "pool.jsonl", "subset": null, "split": "train", "text": "text", "id": "id", "label": null, "options": null}, "task": {"kind": "classification", "labels": [{"name": "sport", "verbaliser": null}, {"name": "business", "verbaliser": null}, {"name": "tech", "verbaliser": null}], "instruction": null, "template": null, "chat_template": true, "answer": "letter", "contextual_calibration": false}, "model": {"name": "model", "revision": null, "dtype": "float32", "device": "cpu", "max_tokens": 96, "batch_tokens": 4096}, "adapter": {"rank": 2, "alpha": 16.0, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "learning_rate": 0.01, "epochs": 1, "min_steps": 0, "batch_size": 8, "warmup_ratio": 0.1, "weight_decay_b": 0.5, "max_grad_norm": 1.0, "warm_start": false}, "posterior": {"kind": "mc_dropout", "samples": 2}, "acquisition": {"measure": "entropy", "blend": {"kind": "schedule", "weight": 0.5, "normalise": "minmax"}, "batch": {"kind": "top_k", "beta": 1.0}, "batch_size": 4, "cold_start": "random", "candidates": null}, "annotator": {"kind": "oracle", "gold": "label", "accuracy": 0.9, "skips": 0.15}, "labelling": {"overlap": 1, "settle": "majority", "skipped": "drop", "disputed": "ask_another", "max_attempts": 3, "close_share": 1.0, "close_after_hours": null, "buffer": 2}, "evaluation": {"kind": "audit", "path": null, "split": "test", "label": null, "size": 4, "calibration": 3, "stop_set": 5}, "stopping": {"max_labels": null, "max_rounds": 2, "target_accuracy": null, "stable_agreement": null, "stable_rounds": 3}, "database": {"url": null, "lease_seconds": 3.0}, "artefacts": null}','{"learner": "numpy", "device": "cpu", "dtype": "float64", "base_key": "numpy-base of sport, business, tech"}','aed668b5786af3a24e2ec8fe31934236bf29533570bb9c81565f91142dc660f0',5,11,'66c669aefd5202eff5c8620a19d37e12f4f99750a5c5f2b6baae4a6d8c04d5d2',2,1.98219661346468201124e+00,1.04213425423839489702e+00,'fitted on 2 calibration labels',17,0.1,'03676fa04e791d5d959306b39b18e80cbc4a7ba4e427811f7f4172e1d531ecae','{"base": {"edges": [0.7005359956790299, 0.7191789496382083, 0.7378219035973868, 0.7564648575565651, 0.7751078115157435, 0.793750765474922, 0.8123937194341003, 0.8310366733932788, 0.8496796273524572, 0.8683225813116355, 0.8869655352708139, 0.9056084892299924, 0.9242514431891707, 0.9428943971483492, 0.9615373511075276, 0.980180305066706, 0.9988232590258843, 1.0174662129850627, 1.0361091669442413, 1.0547521209034196, 1.073395074862598], "counts": [2, 0, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 2, 0, 3, 0, 0, 1, 1, 2]}, "adapted": {"edges": [0.004923265044050565, 0.05372989080164112, 0.10253651655923167, 0.15134314231682222, 0.20014976807441276, 0.2489563938320033, 0.2977630195895939, 0.34656964534718443, 0.39537627110477497, 0.4441828968623655, 0.49298952261995604, 0.5417961483775466, 0.5906027741351373, 0.6394093998927278, 0.6882160256503184, 0.7370226514079089, 0.7858292771654994, 0.83463590292309, 0.8834425286806805, 0.932249154438271, 0.9810557801958617], "counts": [6, 1, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0, 1, 0, 0, 2]}, "blended": {"edges": [0.0, 0.05, 0.1, 0.15000000000000002, 0.2, 0.25, 0.30000000000000004, 0.35000000000000003, 0.4, 0.45, 0.5, 0.55, 0.6000000000000001, 0.65, 0.7000000000000001, 0.75, 0.8, 0.8500000000000001, 0.9, 0.9500000000000001, 1.0], "counts": [2, 0, 0, 1, 0, 2, 0, 0, 0, 0, 3, 2, 0, 3, 0, 0, 1, 0, 2, 1]}}','{"12eb7de533a57c0739cc0a81562b3782": 2, "36dad7f8938de6beadeffd0aa5bf38ca": 2, "91b8c7299875919e95fac31950a07db9": 2, "ae5e5a08cae957be280fff9987067ee6": 0, "b64c6acc65e6247c7de78522c2d05d7d": 2}',NULL,NULL,4,2,'{"fit": 0.07520608499908121, "evaluate": 0.15178180200018687, "decide": 0.05626207400200656, "score": 3.2125046889996156, "select": 0.03032770000208984, "push": 0.035981652999907965, "collect": 0.19661613300195313}',3.75868013600484118796e+00,'2026-11-21 17:40:59.612537',NULL,0);
INSERT INTO "rounds" VALUES(1,2,'stopped',1427935161947639888,'{"name": "archived", "seed": 7, "data": {"path": "pool.jsonl", "subset": null, "split": "train", "text": "text", "id": "id", "label": null, "options": null}, "task": {"kind": "classification", "labels": [{"name": "sport", "verbaliser": null}, {"name": "business", "verbaliser": null}, {"name": "tech", "verbaliser": null}], "instruction": null, "template": null, "chat_template": true, "answer": "letter", "contextual_calibration": false}, "model": {"name": "model", "revision": null, "dtype": "float32", "device": "cpu", "max_tokens": 96, "batch_tokens": 4096}, "adapter": {"rank": 2, "alpha": 16.0, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"], "learning_rate": 0.01, "epochs": 1, "min_steps": 0, "batch_size": 8, "warmup_ratio": 0.1, "weight_decay_b": 0.5, "max_grad_norm": 1.0, "warm_start": false}, "posterior": {"kind": "mc_dropout", "samples": 2}, "acquisition": {"measure": "entropy", "blend": {"kind": "schedule", "weight": 0.5, "normalise": "minmax"}, "batch": {"kind": "top_k", "beta": 1.0}, "batch_size": 4, "cold_start": "random", "candidates": null}, "annotator": {"kind": "oracle", "gold": "label", "accuracy": 0.9, "skips": 0.15}, "labelling": {"overlap": 1, "settle": "majority", "skipped": "drop", "disputed": "ask_another", "max_attempts": 3, "close_share": 1.0, "close_after_hours": null, "buffer": 2}, "evaluation": {"kind": "audit", "path": null, "split": "test", "label": null, "size": 4, "calibration": 3, "stop_set": 5}, "stopping": {"max_labels": null, "max_rounds": 2, "target_accuracy": null, "stable_agreement": null, "stable_rounds": 3}, "database": {"url": null, "lease_seconds": 3.0}, "artefacts": null}','{"learner": "numpy", "device": "cpu", "dtype": "float64", "base_key": "numpy-base of sport, business, tech"}','12de7a93f0fcbc9a5aae4acedb96592836a1bd34a918128e3cdf614ae2629705',9,15,'07a1fb400da19c27143ae33066db1809ead11af4eb0d4f4f43be8928aa97acbc',2,1.1193879679611327127e+00,1.04213425423839489702e+00,'fitted on 2 calibration labels',11,NULL,NULL,'{}','{"12eb7de533a57c0739cc0a81562b3782": 2, "36dad7f8938de6beadeffd0aa5bf38ca": 2, "91b8c7299875919e95fac31950a07db9": 2, "ae5e5a08cae957be280fff9987067ee6": 0, "b64c6acc65e6247c7de78522c2d05d7d": 1}',0.8,'round limit reached: round 2 of 2',0,0,'{"fit": 0.05673980899882736, "evaluate": 0.1365245369997865, "decide": 0.048539348998019705}',2.41803694996633566915e-01,'2026-11-21 17:41:03.727484',NULL,0);
CREATE TABLE scores (
	campaign_id INTEGER NOT NULL, 
	round_index INTEGER NOT NULL, 
	item_id TEXT NOT NULL, 
	rank INTEGER NOT NULL, 
	base_uncertainty DOUBLE, 
	adapted_uncertainty DOUBLE, 
	blended DOUBLE NOT NULL, aleatoric DOUBLE, epistemic DOUBLE, samples INTEGER, 
	CONSTRAINT pk_scores PRIMARY KEY (campaign_id, round_index, item_id), 
	CONSTRAINT ck_scores_rank CHECK (rank >= 1), 
	CONSTRAINT fk_scores_campaign_id_item_id FOREIGN KEY(campaign_id, item_id) REFERENCES campaign_items (campaign_id, item_id), 
	CONSTRAINT fk_scores_campaign_id_round_index FOREIGN KEY(campaign_id, round_index) REFERENCES rounds (campaign_id, round_index)
);
INSERT INTO "scores" VALUES(1,1,'7c45e779d717c4a3f140d672b4d82b9b',1,1.07339507486259799762e+00,9.81055780195861704129e-01,1.0,7.35791835146896278097e-01,2.45263945048965426032e-01,3);
INSERT INTO "scores" VALUES(1,1,'d855578a6631828c4002d34d129c3f67',2,1.05536392025172176545e+00,6.36790955308921491351e-01,0.921208502542886,4.77593216481691118513e-01,1.59197738827230372837e-01,3);
INSERT INTO "scores" VALUES(1,1,'22c8beeabac6becce23d3079059cf9d5',3,1.05002312104247663704e+00,0.696194761442157,9.14402614471004460128e-01,5.22146071081617701992e-01,1.74048690360539243249e-01,3);
INSERT INTO "scores" VALUES(1,1,'241413e94fde24a6d7b435e19d7de279',4,1.01931392649208629741e+00,5.37950303170968702204e-01,0.824065986934956,4.03462727378226526653e-01,1.34487575792742175551e-01,3);
INSERT INTO "scores" VALUES(1,1,'f75c3e0075cd953f6a23143300c1a7a4',5,9.73107551338966869636e-01,2.87299294335856825188e-01,6.86855967034856851327e-01,2.15474470751892632769e-01,0.0718248235839642,3);
INSERT INTO "scores" VALUES(1,1,'f518e3752d8ecef94df5ef5301b09b6c',6,9.72726585275084931758e-01,0.0390972073039106,6.60509309179173942361e-01,2.93229054779329499635e-02,0.00977430182597765,3);
INSERT INTO "scores" VALUES(1,1,'3d05665315e7103e8989a047d4e419f7',7,9.70638566165787919359e-01,4.46135176548656323114e-02,6.56034408231549681644e-01,3.34601382411492259683e-02,1.11533794137164080778e-02,3);
INSERT INTO "scores" VALUES(1,1,'d0d631691fc0bb54c54997fdd6e9e61d',8,9.40539389153826510536e-01,0.00680151961061841,5.79507945455050799132e-01,5.10113970796380756383e-03,1.70037990265460244899e-03,3);
INSERT INTO "scores" VALUES(1,1,'f90fe082f4fab462d1d26a19934d8367',9,9.30000490465039519882e-01,1.57278066508399927414e-01,5.69484942544078109882e-01,1.1795854988129994556e-01,3.93195166270999818536e-02,3);
INSERT INTO "scores" VALUES(1,1,'36dad7f8938de6beadeffd0aa5bf38ca',10,0.911208717478593,1.881519045289611336e-01,5.2728859970863739548e-01,1.411139283967208502e-01,4.70379761322402834e-02,3);
INSERT INTO "scores" VALUES(1,1,'b64c6acc65e6247c7de78522c2d05d7d',11,8.92772959469266158549e-01,0.606686290260616,5.25665525212413942135e-01,4.55014717695462034274e-01,0.151671572565154,3);
INSERT INTO "scores" VALUES(1,1,'44b13b2e4190d7684c83cebadf3eeddd',12,8.67618051643322507615e-01,0.963197422972049,0.501469918659572,7.22398067229036766612e-01,2.40799355743012255537e-01,3);
INSERT INTO "scores" VALUES(1,1,'12eb7de533a57c0739cc0a81562b3782',13,8.0994060068437057076e-01,8.3715355189155862825e-02,2.72150573739307122256e-01,0.0627865163918669,2.09288387972889657062e-02,3);
INSERT INTO "scores" VALUES(1,1,'be918a2f7f703e2944c32dc45e37258e',14,7.7201886808343067603e-01,0.794612112513527,2.53443726874242880597e-01,5.95959084385145221318e-01,1.98653028128381758943e-01,3);
INSERT INTO "scores" VALUES(1,1,'e119f2b597313e1fda94dcc24668639a',15,7.79215701175203223627e-01,1.6197886238722966623e-02,1.9107057401132490626e-01,1.21484146790422249673e-02,4.04947155968074165577e-03,3);
INSERT INTO "scores" VALUES(1,1,'ea7e763a175709fa3049c4052136050d',16,7.18774279125293791281e-01,5.35299657632675590646e-03,4.40672380722370374273e-02,4.01474743224506692984e-03,1.33824914408168897661e-03,3);
INSERT INTO "scores" VALUES(1,1,'0b075119106e1d4226b9c2d1c5286e8b',17,7.00535995679029910299e-01,4.92326504405056486479e-03,0.0,3.69244878303792364859e-03,1.23081626101264121619e-03,3);
CREATE UNIQUE INDEX uq_datasets_ready_key ON datasets ("key") WHERE ready;
CREATE INDEX ix_campaign_items_dataset_id_item_id ON campaign_items (dataset_id, item_id);
CREATE INDEX ix_events_campaign_id ON events (campaign_id);
CREATE INDEX ix_queries_campaign_id_round_index ON queries (campaign_id, round_index);
CREATE INDEX ix_annotations_campaign_id_query_id ON annotations (campaign_id, query_id);
CREATE UNIQUE INDEX uq_campaigns_key ON campaigns ("key");
CREATE VIEW round_history AS
SELECT  -- One row a round. accuracy, accuracy_low, accuracy_high, macro_f1, nll, brier and ece are of the adapted model, scaled by its temperature where one was fitted, else raw. base_accuracy, base_nll and base_ece are of the base model, contextually calibrated where the campaign does so, else raw. nll in nats, brier 0 to 2, ece over 15 equal-width bins, seconds summed over the steps. skipped counts what was closed without a label, disputed those of them without agreement; agreement is the alpha of Krippendorff.
    campaigns.name AS campaign,
    rounds.round_index AS round,
    rounds.state,
    rounds.labels,
    rounds.labels_bought,
    adapted.accuracy,
    adapted.accuracy_low,
    adapted.accuracy_high,
    adapted.macro_f1,
    adapted.nll,
    adapted.brier,
    adapted.ece,
    base.accuracy AS base_accuracy,
    base.nll AS base_nll,
    base.ece AS base_ece,
    rounds.temperature,
    rounds.base_temperature,
    rounds.blend_weight,
    rounds.pool_size,
    rounds.asked,
    rounds.skipped,
    rounds.disputed,
    rounds.agreement,
    rounds.stop_agreement,
    rounds.seconds_total AS seconds,
    rounds.stop_reason
FROM rounds
JOIN campaigns ON campaigns.campaign_id = rounds.campaign_id
LEFT JOIN evaluations AS adapted
    ON adapted.campaign_id = rounds.campaign_id
    AND adapted.round_index = rounds.round_index
    AND adapted.model = 'adapted'
    AND adapted.scaling = CASE WHEN EXISTS (
        SELECT 1 FROM evaluations AS scaled
        WHERE scaled.campaign_id = rounds.campaign_id AND scaled.round_index = rounds.round_index
            AND scaled.model = 'adapted' AND scaled.scaling = 'temperature'
    ) THEN 'temperature' ELSE 'raw' END
LEFT JOIN evaluations AS base
    ON base.campaign_id = rounds.campaign_id
    AND base.round_index = rounds.round_index
    AND base.model = 'base'
    AND base.scaling = CASE WHEN EXISTS (
        SELECT 1 FROM evaluations AS calibrated
        WHERE calibrated.campaign_id = rounds.campaign_id AND calibrated.round_index = rounds.round_index
            AND calibrated.model = 'base' AND calibrated.scaling = 'contextual'
    ) THEN 'contextual' ELSE 'raw' END
ORDER BY campaigns.name, rounds.round_index;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('datasets',1);
COMMIT;
