//! Masked forms (脱敏): what stays of a value of each kind, by the usual Chinese conventions.
//!
//! Which kind a field is stands in the catalog's column `mask`; where that is empty it follows from the type. What does not have
//! the form that a kind expects shows less, never more: no mask shows a whole value, and identifiers show at most half of theirs
//! unless the convention for their full length says otherwise.
//!
//! Source: GB/T 35273-2020 7.2 (shown personal information is to be de-identified) says that, not how; the forms are common
//! practice (docs/SOURCES.md).

use core::fmt;

use crypto::codec::{Decode, Encode};

use crate::{
    catalog::coded,
    value::{FieldType, Value},
};

/// Stands for what is hidden where even its length would tell something.
const HIDDEN: &str = "****";

/// Surnames of two characters (复姓), the common ones; of another one the first character alone stays.
const COMPOUND_SURNAMES: [&str; 20] = [
    "欧阳", "太史", "端木", "上官", "司马", "东方", "独孤", "南宫", "万俟", "闻人", "夏侯", "诸葛", "尉迟",
    "公羊", "赫连", "皇甫", "慕容", "长孙", "宇文", "司徒",
];

/// Endings of an organisation's name that say its form and nothing of who it is.
const LEGAL_FORMS: [&str; 10] = [
    "股份有限公司",
    "有限责任公司",
    "有限公司",
    "分公司",
    "合伙企业",
    "个人独资企业",
    "专业合作社",
    "事务所",
    "委员会",
    "公司",
];

coded! {
    /// What kind of value a masked form is made of.
    pub enum Mask {
        /// A person: the surname stays, a star for each further character (张*, 王**, 欧阳*).
        PersonName = 0, "person-name", "姓名";
        /// An organisation: its first two characters and its legal form stay (苏州****有限公司).
        OrganisationName = 1, "organisation-name", "单位名称";
        /// Who a record is about: a person's name where the subject is one, and an organisation's otherwise.
        SubjectName = 2, "subject-name", "主体名称";
        /// A number of an identity document: six and two characters of a resident number (110101**********34): with four at the
        /// end few people are left to guess among.
        IdNumber = 3, "id-number", "证件号码";
        /// A unified social credit code: its first six and last four characters.
        Uscc = 4, "uscc", "统一社会信用代码";
        /// A telephone number: three and four digits of a mobile number (138****5678), the last four of others.
        Phone = 5, "phone", "电话号码";
        /// An address: down to the district.
        Address = 6, "address", "地址";
        /// An account: its last four characters.
        Account = 7, "account", "账号";
        /// A number of a licence, a registration or a document: two characters at both ends.
        Licence = 8, "licence", "证照编号";
        /// A date: its year.
        Date = 9, "date", "日期";
        /// An amount: how many digits its whole part has.
        Amount = 10, "amount", "金额";
        /// A whole number: how many digits it has.
        Number = 11, "number", "数值";
        /// Any other text: its first character.
        Text = 12, "text", "文本";
    }
}

impl Mask {
    /// The kind of a field of this type where the catalog names none.
    pub const fn of_type(ty: &FieldType) -> Self {
        match ty {
            FieldType::Text { .. } | FieldType::Code(_) => Self::Text,
            FieldType::Date => Self::Date,
            FieldType::Amount => Self::Amount,
            FieldType::Integer => Self::Number,
            FieldType::Uscc => Self::Uscc,
            FieldType::Subject => Self::IdNumber,
        }
    }

    /// Whether values of this type can be masked in this way.
    pub fn fits(self, ty: &FieldType) -> bool {
        let textual = !matches!(ty, FieldType::Date | FieldType::Amount | FieldType::Integer);
        self == Self::of_type(ty) || (textual && !matches!(self, Self::Date | Self::Amount | Self::Number))
    }

    /// The masked form of a value; `person` says whether its subject is a natural person. A value of another type than the kind's
    /// is masked by its type.
    pub fn apply(self, value: &Value, person: bool) -> Value {
        Value::Text(match value {
            Value::Text(text) => self.text(&text.chars().collect::<Vec<_>>(), person),
            Value::Date(date) => format!("{:04}-**-**", date.year()),
            Value::Amount(amount) => magnitude(&amount.to_string()),
            Value::Integer(number) => magnitude(&number.to_string()),
        })
    }

    fn text(self, chars: &[char], person: bool) -> String {
        let mobile = chars.len() == 11 && chars.iter().all(char::is_ascii_digit);
        match self {
            Self::PersonName => person_name(chars),
            Self::SubjectName if person => person_name(chars),
            Self::OrganisationName | Self::SubjectName => organisation_name(chars),
            // Eighteen characters, or the fifteen of the first generation; passports and others are shorter.
            Self::IdNumber if chars.len() >= 15 => ends(chars, 6, 2),
            Self::IdNumber => half(chars, 1, 1),
            Self::Uscc if chars.len() == 18 => ends(chars, 6, 4),
            Self::Uscc => half(chars, 2, 0),
            Self::Phone if mobile => ends(chars, 3, 4),
            Self::Phone | Self::Account => half(chars, 0, 4),
            Self::Address => address(chars),
            Self::Licence => half(chars, 2, 2),
            Self::Date | Self::Amount | Self::Number | Self::Text => chars
                .split_first()
                .filter(|(_, rest)| !rest.is_empty())
                .map_or(HIDDEN.into(), |(c, _)| format!("{c}{HIDDEN}")),
        }
    }
}

/// The first `head` and last `tail` characters, with a star for each between them.
fn ends(chars: &[char], head: usize, tail: usize) -> String {
    let shown = |at: usize| at < head || at + tail >= chars.len();
    chars.iter().enumerate().map(|(at, c)| if shown(at) { *c } else { '*' }).collect()
}

/// As [`ends`], of what is at least twice as long; of anything shorter nothing stays but its length.
fn half(chars: &[char], head: usize, tail: usize) -> String {
    if chars.len() >= 2 * (head + tail) { ends(chars, head, tail) } else { "*".repeat(chars.len()) }
}

fn person_name(chars: &[char]) -> String {
    let surname: String = chars.iter().take(2).collect();
    match chars.len() {
        0 | 1 => "*".repeat(chars.len()),
        n if n > 2 && COMPOUND_SURNAMES.contains(&surname.as_str()) => ends(chars, 2, 0),
        // How long a foreign name is tells more than that of a Chinese one.
        n if n > 4 => format!("{}{HIDDEN}", chars[0]),
        _ => ends(chars, 1, 0),
    }
}

fn organisation_name(chars: &[char]) -> String {
    let name: String = chars.iter().collect();
    let form = LEGAL_FORMS.into_iter().find(|form| name.ends_with(form)).unwrap_or("");
    let own = chars.len() - form.chars().count();
    let head: String = chars.iter().take(if own >= 4 { 2 } else { 0 }).collect();
    format!("{head}{HIDDEN}{form}")
}

/// What stands before the first sign of a road, a village or a number, up to the last province, city or district in it.
fn address(chars: &[char]) -> String {
    let narrow = |c: &char| "路街道弄巷村镇乡栋号幢室".contains(*c) || c.is_ascii_digit();
    let wide = chars.iter().position(narrow).unwrap_or(chars.len());
    let end = (0..wide).rfind(|at| {
        let before = at.checked_sub(1).map(|before| chars[before]);
        // 小区 and 社区 are no districts, and 城市 and 超市 no cities.
        "省市区县旗盟".contains(chars[*at]) && !before.is_none_or(|c| "小社园城超".contains(c))
    });
    let kept: String = chars.iter().take(end.map_or(0, |end| end + 1)).collect();
    format!("{kept}{HIDDEN}")
}

/// How many digits the whole part of a number has.
fn magnitude(number: &str) -> String {
    format!("{} 位数", number.trim_start_matches('-').split('.').next().unwrap_or("").len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::{Amount, Date};

    fn masked(mask: Mask, text: &str) -> String {
        let Value::Text(masked) = mask.apply(&Value::Text(text.into()), true) else { panic!("text") };
        masked
    }

    #[test]
    fn every_kind_keeps_what_its_convention_keeps() {
        use Mask::*;
        for (mask, text, shown) in [
            (PersonName, "张三", "张*"),
            (PersonName, "王小明", "王**"),
            (PersonName, "欧阳修", "欧阳*"),
            (PersonName, "欧阳", "欧*"),
            (PersonName, "诸葛孔明", "诸葛**"),
            (PersonName, "买买提·艾力", "买****"),
            (PersonName, "John Smith", "J****"),
            (PersonName, "李", "*"),
            (PersonName, "", ""),
            (SubjectName, "王小明", "王**"),
            (OrganisationName, "苏州某某精密机械有限公司", "苏州****有限公司"),
            (OrganisationName, "某某股份有限公司", "****股份有限公司"),
            (OrganisationName, "大新公司", "****公司"),
            (OrganisationName, "老王小吃店", "老王****"),
            (OrganisationName, "Acme Trading", "Ac****"),
            (OrganisationName, "有限公司", "****有限公司"),
            (OrganisationName, "", "****"),
            (IdNumber, "110101199003071234", "110101**********34"),
            (IdNumber, "110101900307123", "110101*******23"),
            (IdNumber, "E12345678", "E*******8"),
            (IdNumber, "E12", "***"),
            (Uscc, "91320505MA1XXXXX0A", "913205********XX0A"),
            (Uscc, "9132", "91**"),
            (Phone, "13812345678", "138****5678"),
            (Phone, "0512-87654321", "*********4321"),
            (Phone, "110", "***"),
            (Address, "江苏省苏州市吴中区某某路1号", "江苏省苏州市吴中区****"),
            (Address, "上海市浦东新区张江路88弄阳光小区3栋", "上海市浦东新区****"),
            (Address, "上海市阳光小区3栋", "上海市****"),
            (Address, "浙江省安吉县孝丰镇", "浙江省安吉县****"),
            (Address, "某某路1号", "****"),
            (Address, "12 High Street", "****"),
            (Address, "", "****"),
            (Account, "6222020200011234567", "***************4567"),
            (Account, "1234567", "*******"),
            (Licence, "苏食许12345", "苏食****45"),
            (Licence, "123", "***"),
            (Text, "身份证", "身****"),
            (Text, "一", "****"),
            (Text, "", "****"),
        ] {
            assert_eq!(masked(mask, text), shown, "{mask} of {text}");
        }
    }

    #[test]
    fn dates_and_numbers_keep_their_size_and_a_company_is_no_person() {
        let shown = |value: Value| match Mask::Text.apply(&value, false) {
            Value::Text(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(Value::Date(Date::new(2024, 5, 6).unwrap())), "2024-**-**");
        assert_eq!(shown(Value::Amount(Amount::parse("1234").unwrap())), "4 位数");
        assert_eq!(shown(Value::Amount(Amount::parse("12.5").unwrap())), "2 位数");
        assert_eq!(shown(Value::Integer(-120)), "3 位数");
        let name = Value::Text("王小明商贸有限公司".into());
        assert_eq!(Mask::SubjectName.apply(&name, false), Value::Text("王小****有限公司".into()));
    }

    #[test]
    fn a_subject_is_masked_here_as_on_a_screen() {
        let company = crate::subject::uscc_from_parts("91", "320505", 1).unwrap();
        let person = "0123456789X"
            .chars()
            .find_map(|c| crate::subject::SubjectId::parse(&format!("32010219900101001{c}")).ok())
            .unwrap();
        assert_eq!(masked(Mask::Uscc, company.as_str()), company.masked());
        assert_eq!(masked(Mask::IdNumber, person.as_str()), person.masked());
    }

    proptest! {
        /// Of values without stars: what came masked (张*) has nothing left to hide.
        #[test]
        fn no_mask_shows_a_whole_value(text in "[^*\\p{C}]{1,40}", kind in 0..Mask::ALL.len(), person: bool) {
            let Value::Text(shown) = Mask::ALL[kind].apply(&Value::Text(text.clone()), person) else { panic!("text") };
            let shown: Vec<char> = shown.chars().filter(|c| *c != '*').collect();
            // An organisation's legal form, and an address that ends with its district, are all that there is.
            let whole = matches!(Mask::ALL[kind], Mask::OrganisationName | Mask::SubjectName | Mask::Address);
            prop_assert!(whole || shown.len() < text.chars().count());
        }
    }
}
