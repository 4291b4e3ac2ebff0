//! Turns token bytes into streamed text: whole characters only, stop texts held back until decided.
//!
//! - [`Utf8Decoder`]: bytes in, whole characters out. What it gives, concatenated, equals
//!   [`String::from_utf8_lossy`] of all its bytes, however they were cut.
//! - [`TextStream`]: the same with stop texts. The outcome does not depend on how the bytes were cut either.

/// Decodes UTF-8 that arrives in pieces. An incomplete character is kept until its bytes are there; bytes that
/// cannot become a character are replaced by U+FFFD.
#[derive(Debug, Clone, Default)]
pub struct Utf8Decoder {
    /// The start of a character: at most three bytes between calls.
    incomplete: Vec<u8>,
}

impl Utf8Decoder {
    /// Appends to `text` the characters that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.incomplete.extend_from_slice(bytes);
        let buffered = std::mem::take(&mut self.incomplete);
        let mut rest: &[u8] = &buffered;
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return;
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = tail.get(length..).unwrap_or_default();
                        }
                        None => {
                            self.incomplete = tail.to_vec();
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Whether no character is incomplete.
    pub fn is_empty(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Ends the stream: an incomplete character becomes U+FFFD.
    pub fn finish(&mut self, text: &mut String) {
        let rest = std::mem::take(&mut self.incomplete);
        text.push_str(&String::from_utf8_lossy(&rest));
    }
}

/// Text as it may be shown, with stop texts taken out.
///
/// Of several stop texts, the one that is complete first wins; of those complete at the same character, the
/// longest. So the result is the same whether text comes character by character or all at once.
#[derive(Debug, Clone)]
pub struct TextStream {
    decoder: Utf8Decoder,
    stops: Vec<String>,
    /// Text that may still turn out to begin a stop text; never shown before that is decided.
    held: String,
    /// All text given out so far.
    emitted: String,
    stopped: bool,
}

impl TextStream {
    /// A stream that ends at any of `stops`. Empty stop texts are ignored: they would end every output at once.
    pub fn new(stops: &[String]) -> Self {
        Self {
            decoder: Utf8Decoder::default(),
            stops: stops.iter().filter(|stop| !stop.is_empty()).cloned().collect(),
            held: String::new(),
            emitted: String::new(),
            stopped: false,
        }
    }

    /// Takes the bytes of a token and returns the text that is newly certain, possibly empty.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        let shown = self.emitted.len();
        if !self.stopped {
            let undecided = self.held.len();
            self.decoder.push(bytes, &mut self.held);
            self.decide(undecided);
        }
        &self.emitted[shown..]
    }

    /// Ends the stream and returns what was held back.
    pub fn finish(&mut self) -> &str {
        let shown = self.emitted.len();
        if !self.stopped {
            let undecided = self.held.len();
            self.decoder.finish(&mut self.held);
            self.decide(undecided);
            if !self.stopped {
                self.emitted.push_str(&self.held);
                self.held.clear();
                self.stopped = true;
            }
        }
        &self.emitted[shown..]
    }

    /// Whether a stop text was met (or the stream was finished); what is pushed after that is dropped.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Everything given out so far.
    pub fn text(&self) -> &str {
        &self.emitted
    }

    /// How much text there is, what is held back included.
    pub fn decoded_length(&self) -> usize {
        self.emitted.len() + self.held.len()
    }

    /// Looks for stop texts that end after byte `undecided` of the held text and releases what is certain.
    fn decide(&mut self, undecided: usize) {
        if let Some(start) = self.first_stop(undecided) {
            self.emitted.push_str(&self.held[..start]);
            self.held.clear();
            self.stopped = true;
            return;
        }
        let keep = self.longest_stop_prefix();
        let release = self.held.len() - keep;
        self.emitted.push_str(&self.held[..release]);
        self.held.drain(..release);
    }

    /// Where the stop text begins that is complete first, among those that end after byte `undecided`.
    fn first_stop(&self, undecided: usize) -> Option<usize> {
        let mut first: Option<(usize, usize)> = None;
        for stop in &self.stops {
            // The earliest occurrence that ends after `undecided` begins after `undecided - stop.len()`.
            let mut from = (undecided + 1).saturating_sub(stop.len());
            while !self.held.is_char_boundary(from) {
                from += 1;
            }
            if let Some(offset) = self.held[from..].find(stop.as_str()) {
                let start = from + offset;
                let found = (start + stop.len(), start);
                if first.is_none_or(|best| found < best) {
                    first = Some(found);
                }
            }
        }
        first.map(|(_, start)| start)
    }

    /// The length of the longest end of the held text that begins some stop text.
    fn longest_stop_prefix(&self) -> usize {
        let held = self.held.as_bytes();
        let mut longest = 0;
        for stop in &self.stops {
            let most = stop.len().saturating_sub(1).min(held.len());
            if let Some(length) =
                (longest + 1..=most).rev().find(|&length| held.ends_with(&stop.as_bytes()[..length]))
            {
                longest = length;
            }
        }
        // `held` is whole characters and a stop text's prefix that it ends with starts on one, since UTF-8
        // never has a continuation byte where a character begins.
        longest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream_text(pieces: &[&[u8]], stops: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut stream = TextStream::new(&stops);
        let mut shown = String::new();
        let mut stopped = false;
        for piece in pieces {
            shown.push_str(stream.push(piece));
            stopped |= stream.is_stopped();
        }
        shown.push_str(stream.finish());
        assert_eq!(shown, stream.text());
        (shown, stopped)
    }

    #[test]
    fn characters_come_out_whole() {
        let mut stream = TextStream::new(&[]);
        assert_eq!(stream.push("é".as_bytes().split_at(1).0), "");
        assert_eq!(stream.push("é".as_bytes().split_at(1).1), "é");
        let emoji = "🦊".as_bytes();
        for byte in &emoji[..3] {
            assert_eq!(stream.push(&[*byte]), "");
        }
        assert_eq!(stream.push(&emoji[3..]), "🦊");
        assert_eq!(stream.push(&emoji[..2]), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.text(), "é🦊\u{fffd}");
    }

    #[test]
    fn stop_texts_are_held_back_and_removed() {
        let stops = ["END".to_string()];
        let mut stream = TextStream::new(&stops);
        assert_eq!(stream.push(b"one E"), "one ");
        assert_eq!(stream.push(b"N"), "");
        assert_eq!(stream.push(b"O"), "ENO");
        assert_eq!(stream.push(b" EN"), " ");
        assert_eq!(stream.push(b"D more"), "");
        assert!(stream.is_stopped());
        assert_eq!(stream.push(b"more"), "");
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.text(), "one ENO ");
    }

    #[test]
    fn held_text_is_shown_at_the_end() {
        assert_eq!(stream_text(&[b"almost EN"], &["END"]), ("almost EN".to_string(), false));
    }

    #[test]
    fn the_stop_that_is_complete_first_wins() {
        assert_eq!(stream_text(&[b"xabcdx"], &["abcd", "bc"]), ("xa".to_string(), true));
        assert_eq!(stream_text(&[b"xa", b"b", b"c", b"dx"], &["abcd", "bc"]), ("xa".to_string(), true));
        assert_eq!(stream_text(&[b"xabc"], &["bc", "abc"]), ("x".to_string(), true));
        assert_eq!(stream_text(&[b"aaab"], &["aab"]), ("a".to_string(), true));
    }

    #[test]
    fn empty_stop_texts_are_ignored() {
        assert_eq!(stream_text(&[b"text"], &[""]), ("text".to_string(), false));
    }

    proptest! {
        #[test]
        fn decoding_in_pieces_equals_lossy_decoding(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(0usize..200, 0..20)) {
            let expected = String::from_utf8_lossy(&bytes).into_owned();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(stream_text(&pieces, &[]).0, expected);
        }

        #[test]
        fn stops_do_not_depend_on_the_cuts(text in "[abé]{0,40}", stops in proptest::collection::vec("[abé]{1,4}", 0..4), cuts in proptest::collection::vec(0usize..80, 0..20)) {
            let bytes = text.as_bytes();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let whole = stream_text(&[bytes], &stops);
            prop_assert_eq!(&stream_text(&pieces, &stops), &whole);
            prop_assert!(stops.iter().all(|stop| !whole.0.contains(stop)));
            prop_assert!(text.starts_with(&whole.0));
        }
    }
}
