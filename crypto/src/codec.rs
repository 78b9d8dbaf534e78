//! The one canonical encoding: deterministic CBOR (RFC 8949 §4.2.1).
//!
//! Types derive `minicbor::{Encode, Decode}` with integer keys. The derived encoder writes one encoding per
//! value; the decoder is lenient, so [`from_slice`] encodes what it has decoded and compares: swapped or doubled
//! keys, long integers, indefinite lengths, unknown keys and trailing bytes are all refused by that one test.

use core::{convert::Infallible, fmt};

use minicbor::Encoder;
pub use minicbor::{Decode, Encode};

/// Why bytes are not the canonical encoding of the expected type.
#[derive(Debug)]
pub enum CodecError {
    /// Not CBOR of the expected shape; carries the decoder's reason.
    Malformed(String),
    /// The right shape in another than the canonical encoding, or with bytes after it.
    NotCanonical,
    /// Longer than the limit the caller named, in bytes.
    TooLong {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "malformed message: {why}"),
            Self::NotCanonical => f.write_str("message is not in canonical form"),
            Self::TooLong { len, max } => write!(f, "message of {len} bytes exceeds the limit of {max}"),
        }
    }
}

impl std::error::Error for CodecError {}

/// Encodes `value`; the same value always gives the same bytes.
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    encoded(|encoder| value.encode(encoder, &mut ()))
}

/// What `write` writes.
pub(crate) fn encoded(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), minicbor::encode::Error<Infallible>>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    match write(&mut Encoder::new(&mut out)) {
        Ok(()) => out,
        // INVARIANT: writing to a Vec cannot fail and no Encode impl of ours returns an error of its own.
        Err(e) => unreachable!("encoding to memory failed: {e}"),
    }
}

/// Decodes exactly one canonical value that fills `bytes`.
///
/// Errors: [`CodecError::Malformed`], [`CodecError::NotCanonical`].
pub fn from_slice<T>(bytes: &[u8]) -> Result<T, CodecError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    let mut decoder = minicbor::Decoder::new(bytes);
    let value: T = decoder.decode().map_err(|e| CodecError::Malformed(e.to_string()))?;
    if decoder.position() != bytes.len() || to_vec(&value) != bytes {
        return Err(CodecError::NotCanonical);
    }
    Ok(value)
}

/// [`from_slice`] for bytes from outside: refuses more than `max` bytes before looking at them.
pub fn from_slice_max<T>(bytes: &[u8], max: usize) -> Result<T, CodecError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    if bytes.len() > max {
        return Err(CodecError::TooLong { len: bytes.len(), max });
    }
    from_slice(bytes)
}

/// A byte string in the encoding (a plain `Vec<u8>` would become an array of integers).
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content may be a signature, a ciphertext or a value; the length is all a log may show.
        write!(f, "Bytes({})", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl core::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<C> Encode<C> for Bytes {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Bytes {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(d.bytes()?.to_vec()))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

impl Timestamp {
    /// This time plus `ms` milliseconds, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// RFC 3339 in UTC with milliseconds: `2026-04-01T08:30:00.000Z`.
    pub fn rfc3339(self) -> String {
        let (days, ms) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (y, m, d) = civil_from_days(days as i64);
        let s = ms / 1000;
        format!("{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}.{:03}Z", s / 3600, s / 60 % 60, s % 60, ms % 1000)
    }
}

/// Civil date of a day number (0 = 1970-01-01), proleptic Gregorian.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (the arithmetic, years start in March).
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

/// Day number of a civil date; the inverse of [`civil_from_days`] for valid dates.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let m = i64::from(month);
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        for nibble in [b >> 4, b & 15] {
            out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    out
}

/// Bytes of a hexadecimal text of even length, either case.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks_exact(2).map(|p| p[0] << 4 | p[1]).collect())
}

/// Declares fixed-length byte identifiers: copyable, ordered, encoded as a byte string, shown as hexadecimal.
///
/// ```
/// crypto::id! {
///     /// Names one case.
///     pub struct CaseId(16);
/// }
/// let id = CaseId([7; 16]);
/// assert_eq!(CaseId::parse(&id.to_string()), Some(id));
/// ```
#[macro_export]
macro_rules! id {
    ($($(#[$doc:meta])* pub struct $name:ident($len:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads the hexadecimal form that `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                $crate::codec::unhex(text)?.try_into().ok().map(Self)
            }
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&$crate::codec::hex(&self.0))
            }
        }
        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl<C> $crate::codec::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }
        impl<'b, C> $crate::codec::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                bytes
                    .try_into()
                    .map(Self)
                    .map_err(|_| minicbor::decode::Error::message(concat!("wrong length of ", stringify!($name))))
            }
        }
    )*};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    #[cbor(map)]
    struct Pair {
        #[n(0)]
        a: u64,
        #[n(1)]
        b: Option<Bytes>,
    }

    #[test]
    fn accepts_only_the_one_encoding_of_a_value() {
        let good = to_vec(&Pair { a: 7, b: Some(Bytes(vec![1])) });
        assert_eq!(good, [0xa2, 0x00, 0x07, 0x01, 0x41, 0x01]);
        assert!(from_slice::<Pair>(&good).is_ok());
        let bad: [&[u8]; 7] = [
            &[0xa2, 0x01, 0x41, 0x01, 0x00, 0x07],             // keys swapped
            &[0xa2, 0x00, 0x18, 0x07, 0x01, 0x41, 0x01],       // integer not in shortest form
            &[0xa2, 0x00, 0x07, 0x01, 0x41, 0x01, 0x00],       // trailing byte
            &[0xbf, 0x00, 0x07, 0x01, 0x41, 0x01, 0xff],       // indefinite length
            &[0xa3, 0x00, 0x07, 0x01, 0x41, 0x01, 0x02, 0x00], // unknown key
            &[0xa3, 0x00, 0x07, 0x00, 0x07, 0x01, 0x41, 0x01], // doubled key
            &[0xa2, 0x00, 0x07, 0x01, 0xf6],                   // null for absent
        ];
        for bytes in bad {
            assert!(from_slice::<Pair>(bytes).is_err(), "{}", hex(bytes));
        }
    }

    #[test]
    fn civil_dates_round_trip_over_four_centuries() {
        for days in -40_000..110_000 {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
        assert_eq!(Timestamp(1_775_032_200_123).rfc3339(), "2026-04-01T08:30:00.123Z");
    }
}
