//! Takes what a model says apart: reasoning, text, and calls of tools in the form that it was taught.
//!
//! - [`OutputForm`]: how a model writes these things; its chat template and its vocabulary tell.
//! - [`OutputParser`]: one output in progress. What it gives as text or reasoning stays so; what may be the beginning of
//!   a call is held back until it is one or is not.
//! - [`ParsedCall`]: a call, whole and of a tool that is on offer. Everything else that looks like a call is rejected, and
//!   says why.
//!
//! **Invariant:** the outcome does not depend on how the text was cut into pieces.

mod form;
mod json;
mod python;

use glasshouse_protocol::RejectedCall;
use serde_json::Value;

use form::Ending;
pub use form::{CallForm, OutputForm};

/// A call as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedCall {
    /// The model's own name for the call, if it gave one.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// The arguments object.
    pub arguments: Value,
}

/// One output in progress.
#[derive(Debug, Clone)]
pub struct OutputParser {
    form: OutputForm,
    /// The tools on offer; without any, nothing is a call.
    tools: Vec<String>,
    state: State,
    /// What is undecided.
    pending: String,
    content: String,
    reasoning: Option<String>,
    calls: Vec<ParsedCall>,
    rejected: Vec<RejectedCall>,
}

/// Where the output is.
#[derive(Debug, Clone)]
enum State {
    /// Before the first character of reasoning or text.
    Start { may_reason: bool },
    /// Within the reasoning.
    Reasoning,
    /// Within the text.
    Content,
    /// Within a call.
    Call {
        /// The white space and the mark before it, for what turns out to be text.
        before: String,
        ending: Ending,
    },
}

impl OutputParser {
    /// A parser of the output that follows a prompt; `prompt_end` is the text that the prompt ends with: a template may
    /// open the reasoning itself. `tools` are the names of the tools on offer.
    pub fn new(form: OutputForm, tools: Vec<String>, prompt_end: &str) -> Self {
        let opened = form.opens_reasoning(prompt_end);
        Self {
            state: if opened { State::Reasoning } else { State::Start { may_reason: true } },
            form,
            tools,
            pending: String::new(),
            content: String::new(),
            reasoning: opened.then(String::new),
            calls: Vec::new(),
            rejected: Vec::new(),
        }
    }

    /// The text so far.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The reasoning so far, if there is such a section.
    pub fn reasoning(&self) -> Option<&str> {
        self.reasoning.as_deref()
    }

    /// The calls so far.
    pub fn calls(&self) -> &[ParsedCall] {
        &self.calls
    }

    /// What was rejected so far.
    pub fn rejected(&self) -> &[RejectedCall] {
        &self.rejected
    }

    /// Takes text. Marks that are control tokens of the vocabulary are none here, though they have their letters.
    pub fn push(&mut self, text: &str) {
        self.pending.push_str(text);
        while self.step() {}
    }

    /// Takes a control token by its text; one that is no mark of the form says nothing.
    pub fn push_control(&mut self, text: &str) {
        if let State::Call { ending, .. } = &self.state {
            if ending.closer() == Some(text) {
                let body = std::mem::take(&mut self.pending);
                self.close(&body, text, true);
            } else if self.form.call_opener(text).is_some() {
                let body = std::mem::take(&mut self.pending);
                let is_whole = ending.closer().is_none();
                self.close(&body, "", is_whole);
                self.push_control(text);
            } else if self.form.is_part_of_calls(text) {
                self.pending.push_str(text);
            }
            return;
        }
        if matches!(self.state, State::Start { may_reason: true })
            && self.form.reasoning_opener() == Some(text)
        {
            self.pending.clear();
            self.begin_reasoning();
        } else if matches!(self.state, State::Reasoning) && self.form.reasoning_closer() == Some(text) {
            let rest = std::mem::take(&mut self.pending);
            self.reason(rest.trim_end());
            self.state = State::Start { may_reason: false };
        } else if !self.tools.is_empty()
            && let Some(opener) = self.form.call_opener(text)
        {
            let rest = std::mem::take(&mut self.pending);
            match self.state {
                State::Reasoning => self.reason(rest.trim_end()),
                _ => self.say(rest.trim_end()),
            }
            self.state = State::Call { before: String::new(), ending: opener.ending };
        }
    }

    /// Ends the output; `is_whole` says that the model ended it by itself. A call that has no end of its own counts only
    /// then.
    pub fn finish(&mut self, is_whole: bool) {
        let rest = std::mem::take(&mut self.pending);
        match &self.state {
            State::Start { may_reason } => {
                if *may_reason {
                    self.content.push_str(&rest);
                } else {
                    self.content.push_str(rest.trim_start());
                }
            }
            State::Reasoning => self.reason(rest.trim_end()),
            State::Content if self.calls.is_empty() => self.content.push_str(&rest),
            State::Content => self.say(rest.trim_end()),
            State::Call { .. } => self.close(&rest, "", is_whole),
        }
        self.state = State::Content;
    }

    /// Decides some of what is undecided; false if nothing can be decided yet.
    fn step(&mut self) -> bool {
        match &self.state {
            State::Start { may_reason } => self.start(*may_reason),
            State::Reasoning => self.step_reasoning(),
            State::Content => self.step_content(),
            State::Call { ending, .. } => {
                let Some((length, end)) = ending.end(&self.pending) else { return false };
                let text: String = self.pending.drain(..end).collect();
                self.close(&text[..length], &text[length..], true);
                true
            }
        }
    }

    fn start(&mut self, may_reason: bool) -> bool {
        let text = self.pending.trim_start();
        if text.is_empty() {
            return false;
        }
        if let Some(opener) = self.form.reasoning_opener_in_text().filter(|_| may_reason) {
            if let Some(rest) = text.strip_prefix(opener) {
                self.pending = rest.to_string();
                self.begin_reasoning();
                return true;
            }
            if opener.starts_with(text) {
                return false;
            }
        }
        if !self.tools.is_empty() && self.form.has_bare_calls() && text.starts_with('{') {
            let before = self.pending.len() - text.len();
            let before = self.pending.drain(..before).collect();
            self.state = State::Call { before, ending: Ending::Output { json_only: true } };
            return true;
        }
        if !may_reason {
            self.pending = text.to_string();
        }
        self.state = State::Content;
        true
    }

    fn step_reasoning(&mut self) -> bool {
        if self.reasoning.as_deref() == Some("") {
            self.pending = self.pending.trim_start().to_string();
        }
        let closer = self.form.reasoning_closer_in_text();
        if let Some((before, behind)) = closer.and_then(|closer| self.pending.split_once(closer)) {
            let (before, behind) = (before.trim_end().to_string(), behind.to_string());
            self.reason(&before);
            self.pending = behind;
            self.state = State::Start { may_reason: false };
            return true;
        }
        let certain = certain_length(&self.pending, closer.into_iter());
        let text: String = self.pending.drain(..certain).collect();
        self.reason(&text);
        false
    }

    fn step_content(&mut self) -> bool {
        if self.tools.is_empty() {
            let text = std::mem::take(&mut self.pending);
            self.content.push_str(&text);
            return false;
        }
        let openers = || self.form.call_openers_in_text();
        let first = openers()
            .filter_map(|opener| Some((self.pending.find(opener.text)?, opener)))
            .min_by_key(|(position, opener)| (*position, std::cmp::Reverse(opener.text.len())));
        // A longer mark may begin where a shorter one is complete.
        let undecided = |position: usize| {
            openers().any(|opener| {
                let rest = &self.pending[position..];
                opener.text.len() > rest.len() && opener.text.starts_with(rest)
            })
        };
        if let Some((position, opener)) = first {
            if undecided(position) {
                return false;
            }
            let end = position + opener.text.len();
            let text = self.pending[..position].trim_end().to_string();
            let before = self.pending[text.len()..end].to_string();
            self.pending.drain(..end);
            self.say(&text);
            self.state = State::Call { before, ending: opener.ending };
            return true;
        }
        let certain = certain_length(&self.pending, openers().map(|opener| opener.text));
        let text: String = self.pending.drain(..certain).collect();
        self.say(&text);
        false
    }

    fn begin_reasoning(&mut self) {
        self.reasoning = Some(String::new());
        self.state = State::Reasoning;
    }

    fn reason(&mut self, text: &str) {
        self.reasoning.get_or_insert_default().push_str(text);
    }

    /// Appends text. Where calls come first, it begins with its first letter.
    fn say(&mut self, text: &str) {
        let is_behind_calls = !(self.calls.is_empty() && self.rejected.is_empty());
        let text = if self.content.is_empty() && is_behind_calls { text.trim_start() } else { text };
        self.content.push_str(text);
    }

    /// Ends a call with this body and the mark that followed it; `is_whole` says that it was not cut off.
    fn close(&mut self, body: &str, mark: &str, is_whole: bool) {
        let State::Call { before, ending } = std::mem::replace(&mut self.state, State::Content) else {
            return;
        };
        let rejected = |reason: &str| {
            vec![Err(RejectedCall { text: body.trim().to_string(), reason: reason.to_string() })]
        };
        let calls = if is_whole {
            self.form.calls(ending, body, &self.tools)
        } else if ending == (Ending::Output { json_only: true }) && !json::may_be_call(body) {
            None
        } else {
            Some(rejected("it was cut off before its end"))
        };
        let Some(calls) = calls else {
            // It only looked like a call at first.
            self.content.extend([before.as_str(), body, mark]);
            return;
        };
        for call in calls {
            match call {
                Ok(call) => self.calls.push(call),
                Err(reason) => self.rejected.push(reason),
            }
        }
    }
}

/// How much of `text` is neither white space at its end nor the beginning of a mark there.
fn certain_length<'m>(text: &str, marks: impl Iterator<Item = &'m str>) -> usize {
    let longest = marks
        .flat_map(|mark| mark.char_indices().skip(1).map(|(end, _)| &mark[..end]))
        .filter(|beginning| text.ends_with(beginning))
        .map(str::len)
        .max()
        .unwrap_or(0);
    text[..text.len() - longest].trim_end().len()
}

#[cfg(test)]
mod tests;
