//! A file's bytes → text, piece by piece: UTF-8 or GB 18030, found out on the way.
//!
//! Plain ASCII is both. The first byte that is not opens a window of [`WINDOW_BYTES`]; what is valid UTF-8 there is
//! UTF-8 to the end of the file, anything else must be GB 18030.

use crate::normalize::{Encoding, NormalizeError};

/// Bytes from the first non-ASCII one on that decide the encoding: text of some ten thousand characters does not pass
/// for the other encoding by chance, and a piece of this size costs no memory worth counting.
const WINDOW_BYTES: usize = 64 * 1024;
/// So many characters of three bytes or more before the first fault make it UTF-8: GBK text forms one such
/// sequence by chance about once in thirty characters, four in a row without a fault before practically never.
const UTF8_WIDE_CHARS_MIN: usize = 4;

/// Decodes a text that is in memory.
///
/// Errors: as [`TextDecoder::push`].
pub fn decode(bytes: &[u8]) -> Result<(String, Encoding), NormalizeError> {
    let (mut decoder, mut text) = (TextDecoder::default(), String::new());
    decoder.push(bytes, &mut text)?;
    decoder.finish(&mut text)?;
    Ok((text, decoder.encoding()))
}

/// Turns bytes into text as they come.
pub struct TextDecoder {
    state: State,
    /// Bytes that are not decided or not complete yet.
    held: Vec<u8>,
    /// Bytes before `held`.
    offset: usize,
    /// Line ends before `held`.
    lines: usize,
}

enum State {
    Start,
    Ascii,
    Utf8 { bom: bool },
    Gb(encoding_rs::Decoder),
}

impl Default for TextDecoder {
    fn default() -> Self {
        Self { state: State::Start, held: Vec::new(), offset: 0, lines: 0 }
    }
}

impl TextDecoder {
    /// Takes the next bytes and adds the text they complete to `text`.
    ///
    /// Errors: [`NormalizeError`] with the place. GB 18030 accepts almost any pairs of high bytes, so bytes that begin
    /// as Chinese text in UTF-8 and break off are reported as damaged instead of being read as GBK.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) -> Result<(), NormalizeError> {
        self.held.extend_from_slice(bytes);
        self.go(false, text)
    }

    /// Takes the end of the file.
    ///
    /// Errors: as [`TextDecoder::push`], also for a last character that is not complete.
    pub fn finish(&mut self, text: &mut String) -> Result<(), NormalizeError> {
        self.go(true, text)
    }

    /// What the file is encoded in, as far as it was read.
    pub fn encoding(&self) -> Encoding {
        match self.state {
            State::Utf8 { bom: true } => Encoding::Utf8Bom,
            State::Gb(_) => Encoding::Gb18030,
            State::Start | State::Ascii | State::Utf8 { bom: false } => Encoding::Utf8,
        }
    }

    fn go(&mut self, last: bool, text: &mut String) -> Result<(), NormalizeError> {
        if matches!(self.state, State::Start) {
            if self.held.len() < 3 && !last {
                return Ok(());
            }
            if self.held.starts_with(&[0xff, 0xfe]) || self.held.starts_with(&[0xfe, 0xff]) {
                return Err(NormalizeError::Utf16);
            }
            self.state = State::Ascii;
            if self.held.starts_with(&[0xef, 0xbb, 0xbf]) {
                self.drop_held(3);
                self.state = State::Utf8 { bom: true };
            }
        }
        if matches!(self.state, State::Ascii) {
            let ascii = self.held.iter().position(|b| !b.is_ascii()).unwrap_or(self.held.len());
            text.push_str(core::str::from_utf8(&self.held[..ascii]).unwrap_or_default());
            self.drop_held(ascii);
            if self.held.is_empty() || (self.held.len() < WINDOW_BYTES && !last) {
                return Ok(());
            }
            self.state = self.decide(last)?;
        }
        match &mut self.state {
            State::Gb(decoder) => {
                let room = decoder.max_utf8_buffer_length_without_replacement(self.held.len());
                text.reserve(room.unwrap_or(self.held.len()));
                match decoder.decode_to_string_without_replacement(&self.held, text, last) {
                    (encoding_rs::DecoderResult::InputEmpty, _) => {
                        self.drop_held(self.held.len());
                        Ok(())
                    }
                    (encoding_rs::DecoderResult::Malformed(bad, after), read) => {
                        Err(self.undecodable(read.saturating_sub(usize::from(bad) + usize::from(after))))
                    }
                    // INVARIANT: the room reserved is the decoder's own upper bound. Reported rather than assumed.
                    (encoding_rs::DecoderResult::OutputFull, read) => Err(self.undecodable(read)),
                }
            }
            _ => {
                let (valid, broken) = match core::str::from_utf8(&self.held) {
                    Ok(_) => (self.held.len(), false),
                    Err(e) => (e.valid_up_to(), e.error_len().is_some() || last),
                };
                text.push_str(core::str::from_utf8(&self.held[..valid]).unwrap_or_default());
                if broken {
                    return Err(self.damaged(valid));
                }
                self.drop_held(valid);
                Ok(())
            }
        }
    }

    /// The encoding of a file whose first non-ASCII byte is the first one held.
    fn decide(&self, last: bool) -> Result<State, NormalizeError> {
        let window = &self.held[..self.held.len().min(WINDOW_BYTES)];
        let Err(fault) = core::str::from_utf8(window) else { return Ok(State::Utf8 { bom: false }) };
        let cut = fault.error_len().is_none() && (window.len() < self.held.len() || !last);
        if cut {
            return Ok(State::Utf8 { bom: false });
        }
        let valid = fault.valid_up_to();
        let wide = core::str::from_utf8(&window[..valid])
            .map_or(0, |text| text.chars().filter(|c| *c >= '\u{800}').count());
        if wide >= UTF8_WIDE_CHARS_MIN {
            return Err(self.damaged(valid));
        }
        Ok(State::Gb(encoding_rs::GB18030.new_decoder_without_bom_handling()))
    }

    fn drop_held(&mut self, count: usize) {
        self.offset += count;
        self.lines += line_ends(&self.held[..count]);
        self.held.drain(..count);
    }

    fn damaged(&self, at: usize) -> NormalizeError {
        let (offset, line) = self.place(at);
        NormalizeError::DamagedUtf8 { offset, line }
    }

    fn undecodable(&self, at: usize) -> NormalizeError {
        let (offset, line) = self.place(at);
        NormalizeError::Undecodable { offset, line }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        (self.offset + at, self.lines + line_ends(&self.held[..at]) + 1)
    }
}

fn line_ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_pieces(bytes: &[u8], size: usize) -> Result<(String, Encoding), NormalizeError> {
        let (mut decoder, mut text) = (TextDecoder::default(), String::new());
        for piece in bytes.chunks(size) {
            decoder.push(piece, &mut text)?;
        }
        decoder.finish(&mut text)?;
        Ok((text, decoder.encoding()))
    }

    #[test]
    fn decodes_utf8_with_and_without_mark_and_gbk() {
        let text = "统一社会信用代码,名称\n91310110MA1G8XXX0X,上海某某有限公司\n";
        let (gbk, ..) = encoding_rs::GB18030.encode(text);
        assert_eq!(decode(text.as_bytes()).unwrap(), (text.to_owned(), Encoding::Utf8));
        assert_eq!(decode(&gbk).unwrap(), (text.to_owned(), Encoding::Gb18030));
        assert_eq!(
            decode(&[b"\xef\xbb\xbf", text.as_bytes()].concat()).unwrap(),
            (text.to_owned(), Encoding::Utf8Bom)
        );
        assert_eq!(decode(b"").unwrap(), (String::new(), Encoding::Utf8));
    }

    #[test]
    fn names_the_place_of_a_fault() {
        let mut bytes = "名称,备注\n上海某某公司\n".as_bytes().to_vec();
        bytes.remove(16);
        assert_eq!(decode(&bytes), Err(NormalizeError::DamagedUtf8 { offset: 14, line: 2 }));
        assert_eq!(decode(b"\xef\xbb\xbfa\n\xff"), Err(NormalizeError::DamagedUtf8 { offset: 5, line: 2 }));
        assert_eq!(decode(b"a,b\nc,\xff\xff\n"), Err(NormalizeError::Undecodable { offset: 6, line: 2 }));
        assert_eq!(decode(b"a\n\xd0"), Err(NormalizeError::Undecodable { offset: 2, line: 2 }));
        assert_eq!(decode(b"\xff\xfea\0"), Err(NormalizeError::Utf16));
        // Far behind the window.
        let mut long = "统一社会信用代码\n".repeat(20_000).into_bytes();
        let at = long.len();
        long.push(0xff);
        assert_eq!(decode(&long), Err(NormalizeError::DamagedUtf8 { offset: at, line: 20_001 }));
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(
            text in "[a-z,\n统一社会信用]{0,60}", gb in any::<bool>(), flip in proptest::option::of(any::<(usize, u8)>()), cut in 1usize..7,
        ) {
            let mut bytes = if gb { encoding_rs::GB18030.encode(&text).0.into_owned() } else { text.into_bytes() };
            if let Some((at, with)) = flip && !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = with;
            }
            prop_assert_eq!(in_pieces(&bytes, cut), decode(&bytes));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn gbk_with_a_chinese_heading_round_trips(text in "[一-龥]{1,40}") {
            // Without the heading some short GBK texts are valid UTF-8 too, and nothing could tell them apart.
            let text = format!("行政相对人名称\n{text}");
            let (gbk, _, _) = encoding_rs::GB18030.encode(&text);
            prop_assert_eq!(decode(&gbk).unwrap().0, text);
        }
    }
}
