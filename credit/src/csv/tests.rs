//! Files in every encoding and with every fault, and the code each fault gets.

use proptest::prelude::*;

use super::*;
use crate::subject::uscc_from_parts;

fn item(id: &str) -> (Catalog, Item) {
    let catalog = Catalog::builtin();
    let item = catalog.item(&ItemId::parse(id).unwrap()).unwrap().clone();
    (catalog, item)
}

fn today() -> Date {
    Date::parse("2026-11-20").unwrap()
}

fn uscc(serial: u64) -> String {
    uscc_from_parts("91", "310110", serial).unwrap().as_str().to_owned()
}

/// A sound penalty row as (column, value); a test replaces what it is about.
fn penalty(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let (company, authority) = (uscc(7), uscc_from_parts("11", "310110", 8).unwrap().as_str().to_owned());
    let base = [
        ("CF_XDR_MC", "某某商贸有限公司"),
        ("CF_XDR_LB", "法人及非法人组织"),
        ("CF_XDR_SHXYM", company.as_str()),
        ("CF_XDR_GSZC", ""),
        ("CF_XDR_SYDW", ""),
        ("CF_FRDB", "张某"),
        ("CF_XDR_ZJLX", ""),
        ("CF_XDR_ZJHM", ""),
        ("CF_WSH", "沪市监杨处〔2026〕102026000123号"),
        ("CF_WFXW", "虚假宣传"),
        ("CF_SY", "当事人在店堂内作虚假宣传，情节轻微"),
        ("CF_YJ", "《中华人民共和国反不正当竞争法》第八条"),
        ("CF_CFLB", "警告;罚款"),
        ("CF_NR", "警告，罚款2000元"),
        ("CF_NR_FK", "0.2"),
        ("CF_NR_WFFF", ""),
        ("CF_NR_ZKDX", ""),
        ("CF_JDRQ", "2026/04/01"),
        ("CF_YXQ", "2099/12/31"),
        ("CF_GSJZQ", ""),
        ("CF_CFJG", "某区市场监督管理局"),
        ("CF_CFJGDM", authority.as_str()),
        ("CF_SJLY", "某区市场监督管理局"),
        ("CF_SJLYDM", authority.as_str()),
        ("BZ", ""),
        ("X_GSRQ", ""),
        ("X_XWZZRQ", ""),
    ];
    let mut row: Vec<_> = base.iter().map(|(c, v)| ((*c).to_owned(), (*v).to_owned())).collect();
    for (column, value) in changes {
        match row.iter_mut().find(|(c, _)| c == column) {
            Some(cell) => cell.1 = (*value).to_owned(),
            None => row.push(((*column).to_owned(), (*value).to_owned())),
        }
    }
    row
}

fn file(rows: &[Vec<(String, String)>]) -> String {
    let line = |cells: Vec<&String>| {
        let quoted: Vec<_> = cells.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
        quoted.join(",") + "\n"
    };
    let mut text = line(rows[0].iter().map(|(c, _)| c).collect());
    for row in rows {
        text += &line(row.iter().map(|(_, v)| v).collect());
    }
    text
}

fn read_cf(text: &[u8]) -> Result<Intake, FileError> {
    let (catalog, item) = item("CF");
    read(text, &catalog, &item, today())
}

/// The (column, code) pairs with which one changed row is rejected.
fn faults(changes: &[(&str, &str)]) -> Vec<(String, &'static str)> {
    let intake = read_cf(file(&[penalty(changes)]).as_bytes()).unwrap();
    let outcome = intake.rows.into_iter().next().unwrap().outcome;
    outcome.err().unwrap_or_default().into_iter().map(|e| (e.column, e.code)).collect()
}

#[test]
fn reads_a_sound_row() {
    let intake = read_cf(file(&[penalty(&[])]).as_bytes()).unwrap();
    let row = &intake.rows[0];
    let record = row.outcome.as_ref().unwrap();
    assert_eq!((row.number, row.normalised), (2, false));
    assert_eq!(record.subject.as_str(), uscc(7));
    assert_eq!(record.document, "沪市监杨处〔2026〕102026000123号");
    assert_eq!(record.decided, Date::parse("2026-04-01"));
    assert_eq!(record.fields[&FieldId(20)], Value::Amount(Amount::parse("0.2").unwrap()));
    assert_eq!(record.fields[&FieldId(24)], Value::Date(Date::LONG_TERM));
    assert_eq!(record.authority_code.as_deref(), Some(uscc_from_parts("11", "310110", 8).unwrap().as_str()));
    assert!(!record.fields.contains_key(&FieldId(3)), "the subject is field 0 only");
    assert!(!record.fields.contains_key(&FieldId(30)), "an empty cell is no field");
    assert_eq!(format!("{record:?}"), format!("PlainRecord(CF, {} fields, redacted)", record.fields.len()));
}

#[test]
fn reads_gbk_bom_tabs_and_chinese_headings() {
    let (_, cf) = item("CF");
    let plain = file(&[penalty(&[])]);
    let mut chinese = plain.clone();
    for field in &cf.fields {
        let quoted = |text: &str| format!("\"{text}\"");
        chinese = chinese.replacen(&quoted(&field.column), &quoted(&field.name), 1);
    }
    assert!(chinese.contains("行政相对人代码_1(统一社会信用代码)"));
    let chinese = chinese.replacen("罚款金额(万元)", "罚款金额（万元）", 1);
    let (gbk, _, _) = encoding_rs::GB18030.encode(&chinese);
    let bom = [b"\xef\xbb\xbf", plain.as_bytes()].concat();
    let tabs = plain.replace("\",\"", "\"\t\"");
    let crlf = plain.replace('\n', "\r\n");
    let record = read_cf(plain.as_bytes()).unwrap().rows.remove(0).outcome.unwrap();
    let forms: [(&[u8], Encoding); 5] = [
        (&gbk, Encoding::Gb18030),
        (&bom, Encoding::Utf8Bom),
        (tabs.as_bytes(), Encoding::Utf8),
        (crlf.as_bytes(), Encoding::Utf8),
        (chinese.as_bytes(), Encoding::Utf8),
    ];
    for (bytes, encoding) in forms {
        let intake = read_cf(bytes).unwrap();
        assert_eq!(intake.encoding, encoding);
        assert_eq!(intake.rows[0].outcome.as_ref().unwrap(), &record);
    }
}

#[test]
fn normalises_before_it_checks_and_says_so() {
    let wide: String = uscc(7).chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect();
    let intake = read_cf(
        file(&[penalty(&[
            ("CF_XDR_SHXYM", &wide),
            ("CF_WSH", "沪市监杨处【2026】 102026000123号"),
            ("CF_JDRQ", "2026-04-01 00:00:00"),
            ("CF_YXQ", "9999-9-9"),
            ("CF_CFLB", "警告；罚款"),
            ("CF_NR_FK", "０.2"),
        ])])
        .as_bytes(),
    )
    .unwrap();
    assert!(intake.rows[0].normalised);
    let plain = read_cf(file(&[penalty(&[])]).as_bytes()).unwrap();
    assert_eq!(intake.rows[0].outcome, plain.rows[0].outcome);
}

#[test]
fn every_fault_of_a_row_has_its_code() {
    let company = uscc(7);
    let wrong_check = format!("{}{}", &company[..17], if company.ends_with('0') { "1" } else { "0" });
    let long = "字".repeat(201);
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'static str)]);
    let table: [Case<'_>; 37] = [
        (&[("CF_WFXW", "")], &[("CF_WFXW", "required_missing")]),
        (&[("CF_WFXW", "NULL")], &[("CF_WFXW", "required_missing")]),
        (&[("CF_XDR_MC", &long)], &[("CF_XDR_MC", "text_too_long")]),
        (&[("CF_JDRQ", "2026-02-30")], &[("CF_JDRQ", "date_invalid")]),
        (&[("CF_JDRQ", "2026-04-01 08:30:00")], &[("CF_JDRQ", "date_invalid")]),
        (&[("CF_JDRQ", "2026-11-21")], &[("CF_JDRQ", "date_in_future")]),
        (&[("X_GSRQ", "2026-11-21")], &[("X_GSRQ", "date_in_future")]),
        (&[("X_XWZZRQ", "2026-11-21")], &[("X_XWZZRQ", "date_in_future")]),
        (&[("X_GSRQ", "2026-03-31")], &[("X_GSRQ", "date_before_decision")]),
        (&[("CF_GSJZQ", "2026-03-31")], &[("CF_GSJZQ", "date_before_decision")]),
        (&[("X_GSRQ", "2026-04-01"), ("CF_GSJZQ", "2026-04-01"), ("X_XWZZRQ", "2025-01-01")], &[]),
        (&[("X_CFCX", "01")], &[]),
        (&[("X_CFCX", "02")], &[]),
        (&[("X_CFCX", "03")], &[("X_CFCX", "code_unknown")]),
        (&[("CF_NR_FK", "2000元")], &[("CF_NR_FK", "amount_unit")]),
        (&[("CF_NR_FK", "1,000")], &[("CF_NR_FK", "amount_invalid")]),
        (&[("CF_NR_FK", "-1")], &[("CF_NR_FK", "amount_invalid")]),
        (&[("CF_NR_FK", "0.1234567")], &[("CF_NR_FK", "amount_invalid")]),
        (&[("CF_NR_FK", "")], &[("CF_NR_FK", "required_missing")]),
        (&[("CF_CFLB", "没收非法财物"), ("CF_NR_FK", "")], &[("CF_NR_WFFF", "required_missing")]),
        (&[("CF_CFLB", "暂扣许可证件")], &[("CF_NR_ZKDX", "required_missing")]),
        (&[("CF_CFLB", "警告;罚酒")], &[("CF_CFLB", "code_unknown")]),
        (&[("CF_CFLB", "警告;其他-责令改正")], &[]),
        (&[("CF_CFLB", "其他-")], &[("CF_CFLB", "code_unknown")]),
        (&[("CF_XDR_LB", "法人")], &[("CF_XDR_LB", "code_unknown")]),
        (&[("CF_XDR_LB", "自然人;个体工商户")], &[("CF_XDR_LB", "code_unknown")]),
        (&[("CF_XDR_SHXYM", &wrong_check)], &[("CF_XDR_SHXYM", "uscc_check_digit")]),
        (&[("CF_XDR_SHXYM", "91310000631295002H")], &[("CF_XDR_SHXYM", "uscc_organisation_check_digit")]),
        (&[("CF_XDR_SHXYM", "9131000O132260250X")], &[("CF_XDR_SHXYM", "uscc_alphabet")]),
        (&[("CF_XDR_SHXYM", "123")], &[("CF_XDR_SHXYM", "subject_length")]),
        (&[("CF_XDR_SHXYM", "")], &[("CF_XDR_SHXYM", "required_missing")]),
        (&[("CF_XDR_SHXYM", "11010519491231002X")], &[("CF_XDR_SHXYM", "subject_kind")]),
        (&[("CF_CFJGDM", USCC_SENTINEL)], &[("CF_CFJGDM", "sentinel_not_identity")]),
        (&[("CF_SJLYDM", USCC_SENTINEL)], &[]),
        (&[("CF_XDR_ZJHM", "11010519491231002X")], &[("CF_XDR_ZJHM", "subject_kind_mismatch")]),
        (&[("CF_XDR_GSZC", "11010519491231002X")], &[("CF_XDR_GSZC", "resident_number_misplaced")]),
        (
            &[("CF_WFXW", ""), ("CF_JDRQ", "x")],
            &[("CF_WFXW", "required_missing"), ("CF_JDRQ", "date_invalid")],
        ),
    ];
    for (changes, expected) in table {
        let expected: Vec<_> = expected.iter().map(|(column, code)| ((*column).to_owned(), *code)).collect();
        assert_eq!(faults(changes), expected, "{changes:?}");
    }
}

#[test]
fn the_sentinel_is_a_filler_and_never_an_identity() {
    let business = [("CF_XDR_LB", "个体工商户"), ("CF_XDR_SHXYM", USCC_SENTINEL)];
    let with = |number| [business[0], business[1], ("CF_XDR_GSZC", number)];
    assert_eq!(faults(&with("310110600123456")), [("CF_XDR_SHXYM".to_owned(), "sentinel_not_identity")]);
    let codes: Vec<_> = faults(&with("")).into_iter().collect();
    assert!(codes.contains(&("CF_XDR_GSZC".to_owned(), "required_missing")), "{codes:?}");
    assert_eq!(
        faults(&[("CF_XDR_SHXYM", USCC_SENTINEL), ("CF_XDR_GSZC", "1")]),
        [("CF_XDR_SHXYM".to_owned(), "sentinel_not_allowed")]
    );
}

#[test]
fn a_natural_person_is_named_by_the_resident_number() {
    let person = [
        ("CF_XDR_LB", "自然人"),
        ("CF_XDR_SHXYM", ""),
        ("CF_FRDB", ""),
        ("CF_XDR_ZJLX", "身份证"),
        ("CF_XDR_ZJHM", "11010519491231002x"),
    ];
    let intake = read_cf(file(&[penalty(&person)]).as_bytes()).unwrap();
    let record = intake.rows[0].outcome.as_ref().unwrap();
    assert!(record.subject.is_natural_person() && intake.rows[0].normalised);
    assert!(!record.fields.contains_key(&FieldId(13)));
    fn change(person: &[(&str, &str)], column: &str, value: &str) -> Vec<(String, &'static str)> {
        faults(&[person, &[(column, value)]].concat())
    }
    assert_eq!(
        change(&person, "CF_XDR_ZJHM", "110105194912310021"),
        [("CF_XDR_ZJHM".into(), "resident_check_digit")]
    );
    assert_eq!(change(&person, "CF_XDR_ZJHM", ""), [("CF_XDR_ZJHM".into(), "required_missing")]);
    assert_eq!(
        change(&person, "CF_XDR_ZJLX", "护照号"),
        [("CF_XDR_ZJLX".into(), "identity_type_unsupported")]
    );
    assert_eq!(change(&person, "CF_XDR_SHXYM", &uscc(1)), [("CF_XDR_SHXYM".into(), "subject_kind_mismatch")]);
    assert_eq!(change(&person, "CF_XDR_SHXYM", USCC_SENTINEL), []);
}

#[test]
fn no_error_repeats_a_value() {
    let secret = "110105194912310021";
    for column in ["CF_XDR_SHXYM", "CF_XDR_LB", "CF_JDRQ", "CF_NR_FK", "CF_CFJGDM", "CF_CFLB", "CF_XDR_ZJHM"]
    {
        let intake = read_cf(file(&[penalty(&[(column, secret)])]).as_bytes()).unwrap();
        let errors = intake.rows[0].outcome.as_ref().unwrap_err();
        assert!(!errors.is_empty() && !format!("{errors:?}{intake:?}").contains("1949"), "{column}");
    }
}

#[test]
fn a_value_in_a_forbidden_column_rejects_its_row_and_names_the_law() {
    let rows = [
        penalty(&[("法定代表人血型", "A")]),
        penalty(&[("法定代表人血型", ""), ("CF_WSH", "沪〔2026〕2号")]),
    ];
    let intake = read_cf(file(&rows).as_bytes()).unwrap();
    let error = &intake.rows[0].outcome.as_ref().unwrap_err()[0];
    assert_eq!((error.code, error.column.as_str()), ("forbidden_field", "法定代表人血型"));
    assert!(error.zh.contains("上海市社会信用条例第十四条") && error.en.contains("blood group"));
    assert!(intake.rows[1].outcome.is_ok());
    assert_eq!(intake.forbidden, ["法定代表人血型"]);
}

#[test]
fn the_second_of_two_equal_rows_is_rejected() {
    let authority = uscc_from_parts("11", "310110", 99).unwrap();
    let rows = [
        penalty(&[("CF_NR_FK", "x")]), // rejected, so it is not the first
        penalty(&[]),
        penalty(&[("CF_WSH", "沪市监杨处[2026]102026000123号"), ("BZ", "又一次")]),
        penalty(&[("CF_CFJGDM", authority.as_str())]),
    ];
    let intake = read_cf(file(&rows).as_bytes()).unwrap();
    assert_eq!((intake.accepted(), intake.rejected()), (2, 2));
    let error = &intake.rows[2].outcome.as_ref().unwrap_err()[0];
    assert_eq!((error.row, error.column.as_str(), error.code), (4, "CF_WSH", "duplicate_in_file"));
}

#[test]
fn line_numbers_survive_blank_lines_and_line_breaks_in_cells() {
    let rows = [
        penalty(&[("CF_SY", "第一行\n第二行")]),
        penalty(&[("CF_WSH", "2号")]),
        penalty(&[("CF_WSH", "3号"), ("CF_WFXW", "")]),
    ];
    let text = file(&rows);
    let cut = text.find("\"某某商贸有限公司\"").unwrap();
    let commas = ",".repeat(rows[0].len() - 1);
    let text = format!("\n{}\n\n{commas}\n{}", &text[..cut], &text[cut..]);
    for text in [text.clone(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
        let intake = read_cf(text.as_bytes()).unwrap();
        let lines: Vec<u32> = intake.rows.iter().map(|row| row.number).collect();
        // 1 blank, 2 heading, 3 and 4 blank, 5 commas.
        assert_eq!(lines, [6, 8, 9]);
        assert_eq!(intake.rows[2].outcome.as_ref().unwrap_err()[0].row, 9);
    }
}

#[test]
fn a_row_of_another_width_is_rejected() {
    let text = file(&[penalty(&[])]) + "\"a\",\"b\"\n";
    let intake = read_cf(text.as_bytes()).unwrap();
    assert_eq!(intake.rows[1].outcome.as_ref().unwrap_err()[0].code, "column_count");
    let text = file(&[penalty(&[("", "")])]);
    assert!(read_cf(text.as_bytes()).unwrap().rows[0].outcome.is_ok());
    let text = file(&[penalty(&[("", "x")])]);
    let intake = read_cf(text.as_bytes()).unwrap();
    assert_eq!(intake.rows[0].outcome.as_ref().unwrap_err()[0].code, "column_unnamed");
}

#[test]
fn a_file_with_a_wrong_heading_is_not_read() {
    let code = |text: &str| read_cf(text.as_bytes()).unwrap_err().code();
    let sound = file(&[penalty(&[])]);
    assert_eq!(code(""), "file_empty");
    assert_eq!(code("\n\n"), "file_empty");
    assert_eq!(code("张三,110105194912310021\n"), "file_no_header");
    assert_eq!(code(&sound.replacen("CF_WSH", "CF_MC", 1)), "column_unknown");
    assert_eq!(code(&file(&[penalty(&[("处罚机关", "x")])])), "column_duplicate");
    assert_eq!(
        code(&file(&[penalty(&[]).into_iter().filter(|(c, _)| c != "CF_JDRQ").collect()])),
        "column_missing"
    );
    assert_eq!(code(&file(&[penalty(&[("CF_SYFW", "0")])])), "column_unknown");
    let extra: Vec<_> = (0..COLUMNS_MAX).map(|n| format!("c{n}")).collect();
    assert_eq!(code(&format!("CF_WSH,{}\n", extra.join(","))), "file_too_many_columns");
    assert_eq!(code(&(sound.clone() + "\"" + &"x\n".repeat(1_200))), "file_row_too_long");
    assert_eq!(read_cf(&vec![b'x'; 2_000_000]).unwrap_err().code(), "file_row_too_long");
    assert_eq!(code(&(sound.clone() + "\"" + &"x".repeat(2_000_000))), "file_row_too_long");
    assert_eq!(code(&(sound.clone() + &",".repeat(20_000))), "file_row_too_long");
    let intake = read_cf(file(&[penalty(&[("ADD_TIME", "2026-01-01")])]).as_bytes()).unwrap();
    assert_eq!((intake.accepted(), intake.skipped), (1, vec!["ADD_TIME".to_owned()]));
}

#[test]
fn suggests_the_heading_that_was_meant() {
    let sound = file(&[penalty(&[])]);
    let e = read_cf(sound.replacen("CF_WSH", "CF_WHS", 1).as_bytes()).unwrap_err();
    assert_eq!(e.to_string(), "column `CF_WHS` is not in the catalog; did you mean `CF_WSH`?");
    let e = read_cf(sound.replacen("CF_WSH", "行政处罚决定文书号", 1).as_bytes()).unwrap_err();
    assert!(e.zh().contains("是否应为“行政处罚决定书文号”"), "{}", e.zh());
}

#[test]
fn the_2016_layout_is_refused_by_name() {
    for heading in [
        "行政相对人代码_5(居民身份证号)",
        "行政相对人代码_5",
        "代码_2",
        "处罚事由",
        "行政相对人代码_2（组织机构代码）",
    ] {
        let e = read_cf(file(&[penalty(&[(heading, "x")])]).as_bytes()).unwrap_err();
        assert_eq!(e.code(), "layout_2016", "{heading}");
        assert!(e.to_string().contains("2016 layout, which is not read yet"));
    }
}

#[test]
fn reads_a_local_layout_with_either_kind_of_subject() {
    let (catalog, zx) = item("ZX");
    let head = "失信被执行人名称,统一社会信用代码,身份证号";
    let head = head.replace("失信被执行人名称", "主体名称");
    let head = format!("{head},ZX_WSH,ZX_AH,ZX_YW,ZX_LX,ZX_XW,ZX_FBRQ,ZX_JG,ZX_JGDM,ZX_JDRQ\n");
    let court = uscc_from_parts("11", "310110", 5).unwrap();
    let row = |uscc: &str, resident: &str, n: u32| {
        format!(
            "某某,{uscc},{resident},失信{n},（2026）沪0110执{n}号,支付货款,全部未履行,有能力而拒不履行,2026-05-01,某区人民法院,{},2026-04-20\n",
            court.as_str()
        )
    };
    let text = head
        + &row(&uscc(1), "", 1)
        + &row("", "11010519491231002X", 2)
        + &row("", "", 3)
        + &row(&uscc(1), "11010519491231002X", 4);
    let intake = read(text.as_bytes(), &catalog, &zx, today()).unwrap();
    let codes: Vec<_> =
        intake.rows.iter().map(|r| r.outcome.as_ref().err().map(|errors| errors[0].code)).collect();
    assert_eq!(codes, [None, None, Some("required_missing"), Some("subject_kind_mismatch")]);
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[a-zA-Z_,\"\\n\\r\t处罚0-9]{0,200}", tail in "\\PC{0,60}") {
        let text = format!("CF_WSH,CF_XDR_LB\n{text}{tail}");
        let _ = read_cf(text.as_bytes());
        let mut rows = file(&[penalty(&[])]);
        rows.push_str(&tail);
        let _ = read_cf(rows.as_bytes());
    }
}

/// What the pieces of a file give, as comparable text.
fn in_pieces(bytes: &[u8], size: usize) -> Result<Vec<String>, FileError> {
    let (catalog, item) = item("CF");
    let mut reader = Reader::new(&catalog, &item);
    let mut rows = Vec::new();
    for piece in bytes.chunks(size) {
        rows.extend(reader.push(piece)?);
    }
    rows.extend(reader.finish()?);
    let layout = reader.layout().expect("there are rows, or an error");
    Ok(rows
        .iter()
        .map(|raw| {
            let row = layout.read(&item, today(), raw);
            let plain = row.outcome.map(|plain| (plain.subject.clone(), plain.fields.clone()));
            format!("{} {} {plain:?}", row.number, row.normalised)
        })
        .collect())
}

#[test]
fn a_file_in_pieces_gives_the_rows_of_the_whole() {
    let second =
        penalty(&[("CF_WSH", "二号"), ("CF_NR", "一行\r\n两行,\"引号\""), ("CF_JDRQ", "2026/13/01")]);
    let text = file(&[penalty(&[]), second, penalty(&[("CF_WSH", "三号")])]);
    let shapes = [
        text.clone(),
        text.replace('\n', "\r\n"),
        format!("\u{feff}{text}"),
        text.replacen('\n', "\n\n\n", 2),
        text.trim_end().to_owned(),
        text.replace("\",\"", "\"\t\""),
    ];
    for shape in shapes {
        let (gbk, ..) = encoding_rs::GB18030.encode(&shape);
        for bytes in [shape.as_bytes(), &gbk] {
            let whole = in_pieces(bytes, usize::MAX);
            assert_eq!(whole.as_ref().map_or(0, Vec::len), 3);
            for size in [1, 2, 3, 7, 64, 1_000] {
                assert_eq!(in_pieces(bytes, size), whole);
            }
        }
    }
}
