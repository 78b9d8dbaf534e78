//! What a permitted reader receives of a field: its value with the opening of its commitment, or a masked form.
//!
//! `verify` mode (yes or no to a fixed predicate) is not answered yet; the policy withholds such fields by its rule
//! `verify-only`.

use crate::value::Value;

/// The masked form of a value (脱敏), by the usual conventions: a name keeps its first character, an identifier its
/// first six and last two, an amount or date only its magnitude or year.
pub fn mask(value: &Value) -> Value {
    let text = match value {
        Value::Text(text) => mask_text(text),
        Value::Date(date) => format!("{}-**-**", date.to_string().get(..4).unwrap_or("****")),
        Value::Amount(_) | Value::Integer(_) => {
            let shown = value.to_display();
            let digits = shown.trim_start_matches('-').split('.').next().unwrap_or("").len();
            format!("{digits} 位数")
        }
    };
    Value::Text(text)
}

fn mask_text(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    match chars.len() {
        0 => String::new(),
        1..=4 => chars[..1].iter().chain(&vec!['*'; chars.len() - 1]).collect(),
        n => {
            let head = if n >= 12 { 6 } else { 2 };
            let stars = vec!['*'; n - head - 2];
            chars[..head].iter().chain(&stars).chain(&chars[n - 2..]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_the_length_and_hide_the_middle() {
        assert_eq!(mask(&Value::Text("张三".into())), Value::Text("张*".into()));
        assert_eq!(mask(&Value::Text("ABCDEFGHJKLMNPQRTU".into())), Value::Text("ABCDEF**********TU".into()));
        assert_eq!(mask(&Value::Text(String::new())), Value::Text(String::new()));
    }
}
