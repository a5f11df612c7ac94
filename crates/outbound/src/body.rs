//! Reading an answer's body: decoded as it arrives, never beyond the limit.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::{Error, client::broken};

/// The whole body, decoded if it is compressed with gzip or deflate.
pub(crate) async fn read(mut body: Incoming, headers: &HeaderMap, limit: usize) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge(limit));
    }
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut decoder = Decoder::new(encoding, limit);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|failed| broken(&failed))?;
        if let Some(data) = frame.data_ref() {
            decoder.take(data)?;
        }
    }
    decoder.finish()
}

/// What the content encoding asks for.
enum Decoder {
    Plain(Sink),
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// Deflate comes with and without a zlib header; its first byte tells.
    DeflateOfSomeKind(Sink),
    Zlib(Box<ZlibDecoder<Sink>>),
    Raw(Box<DeflateDecoder<Sink>>),
}

impl Decoder {
    fn new(encoding: &str, limit: usize) -> Self {
        let sink = Sink { bytes: Vec::new(), limit, full: false };
        match encoding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
            "deflate" => Decoder::DeflateOfSomeKind(sink),
            _ => Decoder::Plain(sink),
        }
    }

    fn take(&mut self, data: &[u8]) -> Result<(), Error> {
        if let (Decoder::DeflateOfSomeKind(sink), Some(first)) = (&mut *self, data.first()) {
            let sink = std::mem::take(sink);
            *self = match first & 0x0f {
                8 => Decoder::Zlib(Box::new(ZlibDecoder::new(sink))),
                _ => Decoder::Raw(Box::new(DeflateDecoder::new(sink))),
            };
        }
        let written = match self {
            Decoder::Plain(sink) | Decoder::DeflateOfSomeKind(sink) => sink.write_all(data),
            Decoder::Gzip(decoder) => decoder.write_all(data),
            Decoder::Zlib(decoder) => decoder.write_all(data),
            Decoder::Raw(decoder) => decoder.write_all(data),
        };
        written.map_err(|_| self.failure())
    }

    fn finish(mut self) -> Result<Bytes, Error> {
        // A body may be empty although its headers announce compression (HEAD, 304).
        let finished = match &mut self {
            Decoder::Gzip(decoder) if decoder.get_ref().untouched() && decoder.header().is_none() => Ok(()),
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zlib(decoder) => decoder.try_finish(),
            Decoder::Raw(decoder) => decoder.try_finish(),
            Decoder::Plain(_) | Decoder::DeflateOfSomeKind(_) => Ok(()),
        };
        finished.map_err(|_| self.failure())?;
        Ok(std::mem::take(&mut self.sink_mut().bytes).into())
    }

    fn failure(&mut self) -> Error {
        let sink = self.sink_mut();
        if sink.full { Error::TooLarge(sink.limit) } else { Error::Encoding }
    }

    fn sink_mut(&mut self) -> &mut Sink {
        match self {
            Decoder::Plain(sink) | Decoder::DeflateOfSomeKind(sink) => sink,
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Raw(decoder) => decoder.get_mut(),
        }
    }
}

/// Collects up to a limit.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Sink {
    fn untouched(&self) -> bool {
        self.bytes.is_empty() && !self.full
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn decode(encoding: &str, data: &[u8], limit: usize) -> Result<Bytes, Error> {
        let mut decoder = Decoder::new(encoding, limit);
        for piece in data.chunks(7) {
            decoder.take(piece)?;
        }
        decoder.finish()
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_encoding_is_decoded() {
        let text = b"to be, or not to be".repeat(20);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(&text).unwrap();
        assert_eq!(decode("", &text, 1000).unwrap(), text);
        assert_eq!(decode("GZIP", &gzip(&text), 1000).unwrap(), text);
        assert_eq!(decode("deflate", &zlib.finish().unwrap(), 1000).unwrap(), text);
        assert_eq!(decode("deflate", &raw.finish().unwrap(), 1000).unwrap(), text);
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let bomb = gzip(&vec![0; 4 << 20]);
        assert!(bomb.len() < 10_000);
        assert!(matches!(decode("gzip", &bomb, 65_536), Err(Error::TooLarge(65_536))));
        assert!(matches!(decode("", &[0; 11], 10), Err(Error::TooLarge(10))));
    }

    #[test]
    fn broken_and_empty_bodies() {
        assert!(matches!(decode("gzip", b"no gzip at all", 100), Err(Error::Encoding)));
        let whole = gzip(b"0123456789");
        assert!(matches!(decode("gzip", &whole[..whole.len() - 9], 100), Err(Error::Encoding)));
        assert_eq!(decode("gzip", b"", 100).unwrap(), "");
        assert_eq!(decode("deflate", b"", 100).unwrap(), "");
    }
}
