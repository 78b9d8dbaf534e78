//! Text for a printed code, and the code as a drawing.
//!
//! The text is `XQ1:` and base32 (RFC 4648, without padding): capital letters and digits only, so that a code needs few
//! modules and the text survives copying from a page by hand.

use qrcode::{Color, EcLevel, QrCode};

/// What a code's text begins with.
const PREFIX: &str = "XQ1:";
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Modules of white around a code, by its standard (ISO/IEC 18004).
const QUIET: usize = 4;

/// The text that carries these bytes.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    let mut text = PREFIX.to_owned();
    let (mut bits, mut held) = (0_u32, 0);
    for byte in bytes {
        (bits, held) = (bits << 8 | u32::from(*byte), held + 8);
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// The bytes in a text; white space and the case of letters do not count. `None` for every other text.
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_whitespace().collect::<String>().to_ascii_uppercase();
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.strip_prefix(PREFIX)?.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        (bits, held) = (bits << 5 | value as u32, held + 5);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
        bits &= (1 << held) - 1;
    }
    // What is left is padding: fewer bits than a letter has, and zero. So each text is one way to write its bytes.
    (held < 5 && bits == 0).then_some(bytes)
}

/// A text as a QR code, an SVG element that scales with its box. `None` when it is too long for one.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let (width, colors) = (code.width(), code.into_colors());
    let mut path = String::new();
    for (row, modules) in colors.chunks(width).enumerate() {
        let mut at = 0;
        while at < width {
            let run = modules[at..].iter().take_while(|color| **color == modules[at]).count();
            if modules[at] == Color::Dark {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", at + QUIET, row + QUIET));
            }
            at += run;
        }
    }
    let side = width + 2 * QUIET;
    Some(format!(
        "<svg viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\" role=\"img\"><rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_vectors_of_the_standard_and_reads_them_again() {
        let vectors = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (bytes, text) in vectors {
            assert_eq!(to_text(bytes.as_bytes()), format!("XQ1:{text}"));
            assert_eq!(from_text(&format!("xq1:{text}\n")).unwrap(), bytes.as_bytes());
        }
        // Bits that no byte has; half a byte; another alphabet; another prefix.
        for wrong in ["XQ1:MZ", "XQ1:M", "XQ1:M1", "XQ2:MY", "MY", "XQ1:MZX\u{9e}"] {
            assert_eq!(from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_drawing_has_the_modules_of_the_code_and_white_around() {
        let drawn = svg("XQ1:MZXW6YTBOI").unwrap();
        assert!(drawn.contains("viewBox=\"0 0 29 29\""), "version 1 has 21 modules a side: {drawn}");
        // The finder pattern in the upper left corner begins with seven dark modules.
        assert!(drawn.contains("d=\"M4 4h7v1h-7z"), "{drawn}");
        assert_eq!(svg(&"A".repeat(10_000)), None);
    }
}
