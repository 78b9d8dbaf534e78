//! The frame around a message: a version byte and one canonical CBOR value.

use crypto::codec;
use minicbor::{Decode, Encode};

use super::VERSION;
use crate::refusal::{Code, Refusal};

/// Encodes a frame.
pub fn to_frame<T: Encode<()>>(message: &T) -> Vec<u8> {
    let mut frame = vec![VERSION];
    frame.extend_from_slice(&codec::to_vec(message));
    frame
}

/// Decodes a frame of at most `max` bytes.
pub fn from_frame<T>(frame: &[u8], max: usize) -> Result<T, Refusal>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    if frame.len() > max {
        return Err(Refusal::new(Code::FrameTooLong, format!("{} bytes, at most {max}", frame.len())));
    }
    match frame.split_first() {
        Some((&VERSION, body)) => {
            codec::from_slice(body).map_err(|e| Refusal::new(Code::FrameMalformed, e.to_string()))
        }
        Some((version, _)) => Err(Refusal::new(
            Code::FrameMalformed,
            format!("protocol version {version}, this build speaks {VERSION}"),
        )),
        None => Err(Refusal::new(Code::FrameMalformed, "empty frame")),
    }
}
