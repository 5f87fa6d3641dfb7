// SPDX-License-Identifier: Apache-2.0
//! The bytes between the host and a cell's process: messages of our own making, each with its length
//! in front.
//!
//! Both sides are of one build, so there are no versions. The host trusts nothing: whatever a process
//! sends is checked here, and one that speaks nonsense is killed.

use code_mode_api::{ContentItem, Globals, ImageDetail, ToolError, ToolName};
use code_mode_engine::limits::EffectiveLimits;
use code_mode_engine::{ScriptOptions, ToolAnswer, ToolCall};
use std::time::Duration;

/// Bytes in front of each message: its length, which counts the kind and the body.
pub(crate) const HEADER_BYTES: usize = 4;

/// What the fields of a message take beside its texts, at most, bytes.
pub(crate) const OVERHEAD_BYTES: u64 = 64 << 10;

/// A message that cannot be understood; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(&'static str);

/// What the host tells a cell's process.
#[derive(Debug)]
pub enum ToCell {
    /// Run this; the first message, and sent once.
    Run(Box<Run>),
    /// The answer to a tool call.
    Answer(ToolAnswer),
    /// The stored value that was asked for; `None` when there is none.
    Stored(Option<String>),
    /// The descriptions of all tools, in the order of the table.
    Descriptions(Vec<String>),
}

/// What a script has to know of a tool to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedTool {
    /// The name that scripts see, before normalisation.
    pub name: String,
    /// The tool's own name.
    pub tool_name: ToolName,
}

/// What a process is to run, and all that it needs for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The source of the script.
    pub source: String,
    /// The bounds of the cell.
    pub limits: EffectiveLimits,
    /// How long the process waits awake for a tool's answer before it sleeps.
    pub answer_spin: Duration,
    /// What was chosen for the script.
    pub options: ScriptOptions,
    /// The tools.
    pub tools: Vec<OfferedTool>,
    /// The session's stored values, or `None` when they are many and each is to be asked for.
    pub stored: Option<Vec<(String, String)>>,
}

/// What a cell's process tells the host.
#[derive(Debug)]
pub enum FromCell {
    /// More output.
    Output(ContentItem),
    /// A tool is called.
    Call(ToolCall),
    /// The script wants no answer to a tool call any more: the number of the call.
    Abandon(u64),
    /// A notification: the number of the call, and the text.
    Notify(u64, String),
    /// The observer is to get what has come so far.
    Yield,
    /// A value is stored: its key, and its JSON text.
    Save(String, String),
    /// A stored value is wanted: its key.
    Load(String),
    /// The descriptions of all tools are wanted.
    Describe,
    /// The script has ended: the error text, if it failed. Nothing follows.
    End(Option<String>),
    /// The process cannot go on; why. Nothing follows.
    Note(DeathNote),
}

/// Why a process ends itself before its script has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeathNote {
    /// V8 found no memory to go on with: where.
    OutOfMemory(String),
    /// V8 found itself broken: what it said.
    Broken(String),
    /// A callback of ours panicked: the message.
    Panicked(String),
    /// The process made a call into the kernel that it must not make: the call's number.
    Forbidden(i64),
    /// The process aborted itself.
    Aborted,
    /// The process could not be prepared for a script: why.
    Unprepared(String),
}

mod kind {
    pub(super) const RUN: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(super) const REFUSAL: u8 = 3;
    pub(super) const STORED: u8 = 4;
    pub(super) const NOT_STORED: u8 = 5;
    pub(super) const DESCRIPTIONS: u8 = 6;

    pub(super) const TEXT: u8 = 32;
    pub(super) const IMAGE: u8 = 33;
    pub(super) const CALL: u8 = 34;
    pub(super) const NOTIFY: u8 = 35;
    pub(super) const YIELD: u8 = 36;
    pub(super) const SAVE: u8 = 37;
    pub(super) const LOAD: u8 = 38;
    pub(super) const DESCRIBE: u8 = 39;
    pub(super) const END: u8 = 40;
    pub(super) const FAILED: u8 = 41;
    pub(super) const OUT_OF_MEMORY: u8 = 42;
    pub(super) const BROKEN: u8 = 43;
    pub(super) const PANICKED: u8 = 44;
    pub(super) const FORBIDDEN: u8 = 45;
    pub(super) const ABORTED: u8 = 46;
    pub(super) const UNPREPARED: u8 = 47;
    pub(super) const AUDIO: u8 = 48;
    pub(super) const ABANDON: u8 = 49;
}

/// Appends messages to bytes that are to be sent.
pub(crate) struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    /// Bytes of the message that are not appended here.
    follow: usize,
}

impl<'a> Writer<'a> {
    fn new(bytes: &'a mut Vec<u8>, kind: u8) -> Self {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        bytes.push(kind);
        Self {
            bytes,
            start,
            follow: 0,
        }
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.bytes.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// The last text of a message needs no length.
    fn rest(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// The last text, which is given back and follows: a long one is sent from where it is.
    fn rest_follows<'t>(&mut self, text: &'t str) -> &'t str {
        self.follow = text.len();
        text
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        // What does not fit into the length cannot be received either; the bounds of values keep far
        // below it.
        let length = self.bytes.len() - self.start - HEADER_BYTES + self.follow;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(header) = self.bytes.get_mut(self.start..self.start + HEADER_BYTES) {
            header.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// The length of the message whose header these bytes begin with; `None` while they are fewer.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(u32::from_le_bytes(*header) as usize)
}

/// Bytes that came in over a stream, with the messages in them.
#[derive(Debug, Default)]
pub struct Received {
    bytes: Vec<u8>,
    /// Where the next message begins.
    start: usize,
}

impl Received {
    /// The length of the next message; `None` while it is not known.
    pub fn next_length(&self) -> Option<usize> {
        length(self.bytes.get(self.start..).unwrap_or_default())
    }

    /// Takes the bytes of the next message, without its header, if it is longer than `kept` bytes, has wholly arrived
    /// and is all that has.
    fn take_long(&mut self, kept: usize) -> Option<Vec<u8>> {
        let length = self.next_length()?;
        if length <= kept || self.start > 0 || self.bytes.len() != HEADER_BYTES + length {
            return None;
        }
        let mut message = std::mem::take(&mut self.bytes);
        message.drain(..HEADER_BYTES);
        Some(message)
    }

    /// Takes the next message, if it has wholly arrived: as `decode_own` reads it where its bytes are many and can be
    /// given away, as `decode` does otherwise. What a message took beyond `kept` bytes is not kept for the next.
    ///
    /// # Errors
    /// Those of the two.
    pub fn take<M>(
        &mut self,
        kept: usize,
        decode: impl FnOnce(&[u8]) -> Result<M, Nonsense>,
        decode_own: impl FnOnce(Vec<u8>) -> Result<M, Nonsense>,
    ) -> Result<Option<M>, Nonsense> {
        if let Some(own) = self.take_long(kept) {
            return decode_own(own).map(Some);
        }
        let Some(length) = self.next_length() else {
            return Ok(None);
        };
        let body = self.start + HEADER_BYTES;
        let Some(message) = self.bytes.get(body..body + length) else {
            return Ok(None);
        };
        let message = decode(message)?;
        self.start = body + length;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(kept);
        }
        Ok(Some(message))
    }

    /// The bytes that no message was made of yet, to read more behind them.
    pub fn rest(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// Bytes that are held.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

const NOT_UTF8: Nonsense = Nonsense("a text that is not UTF-8");

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, Nonsense> {
        let (byte, rest) = self
            .0
            .split_first()
            .ok_or(Nonsense("a message without a kind"))?;
        self.0 = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, Nonsense> {
        let (number, rest) = self
            .0
            .split_first_chunk::<8>()
            .ok_or(Nonsense("a message that ends within a number"))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Result<&'a str, Nonsense> {
        const SHORT: Nonsense = Nonsense("a message that ends within a text");
        let length = usize::try_from(self.number()?).map_err(|_| SHORT)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        utf8(text)
    }

    fn rest(&mut self) -> Result<&'a str, Nonsense> {
        utf8(std::mem::take(&mut self.0))
    }

    fn done(&self) -> Result<(), Nonsense> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Nonsense("a message that is too long for its kind"))
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Nonsense> {
    std::str::from_utf8(bytes).map_err(|_| NOT_UTF8)
}

impl ToCell {
    /// Appends the message.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let rest = self.encode_head(to);
        to.extend_from_slice(rest.as_bytes());
    }

    /// Appends the message but for the text of an answer, which is given back and follows.
    pub(crate) fn encode_head(&self, to: &mut Vec<u8>) -> &str {
        match self {
            Self::Run(run) => run.encode(to),
            Self::Answer(answer) => match &answer.result {
                Ok(value) => {
                    return Writer::new(to, kind::ANSWER)
                        .number(answer.call)
                        .rest_follows(value);
                }
                Err(error) => {
                    Writer::new(to, kind::REFUSAL)
                        .number(answer.call)
                        .rest(&error.message);
                }
            },
            Self::Stored(Some(value)) => {
                Writer::new(to, kind::STORED).rest(value);
            }
            Self::Stored(None) => drop(Writer::new(to, kind::NOT_STORED)),
            Self::Descriptions(descriptions) => {
                let mut writer = Writer::new(to, kind::DESCRIPTIONS);
                for description in descriptions {
                    writer.text(description);
                }
            }
        }
        ""
    }

    /// Reads a message without its header whose bytes are nobody else's: an answer stays where it is.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode_own(body: Vec<u8>) -> Result<Self, Nonsense> {
        let mut reader = Reader(&body);
        if reader.byte()? != kind::ANSWER {
            return Self::decode(&body);
        }
        let call = reader.number()?;
        let before = body.len() - reader.0.len();
        let result = Ok(text_behind(body, before)?.into_boxed_str());
        Ok(Self::Answer(ToolAnswer { call, result }))
    }

    /// Reads a message without its header.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(body: &[u8]) -> Result<Self, Nonsense> {
        let mut reader = Reader(body);
        let message = match reader.byte()? {
            kind::RUN => Self::Run(Box::new(Run::decode(&mut reader)?)),
            kind::ANSWER => Self::Answer(ToolAnswer {
                call: reader.number()?,
                result: Ok(Box::from(reader.rest()?)),
            }),
            kind::REFUSAL => Self::Answer(ToolAnswer {
                call: reader.number()?,
                result: Err(ToolError::new(reader.rest()?)),
            }),
            kind::STORED => Self::Stored(Some(reader.rest()?.to_owned())),
            kind::NOT_STORED => Self::Stored(None),
            kind::DESCRIPTIONS => {
                let mut descriptions = Vec::new();
                while !reader.0.is_empty() {
                    descriptions.push(reader.text()?.to_owned());
                }
                Self::Descriptions(descriptions)
            }
            _ => return Err(Nonsense("a message of no kind that the host sends")),
        };
        reader.done()?;
        Ok(message)
    }
}

impl Run {
    fn encode(&self, to: &mut Vec<u8>) {
        let mut writer = Writer::new(to, kind::RUN);
        for number in self.limits_as_numbers() {
            writer.number(number);
        }
        writer.number(micros(self.answer_spin));
        let ScriptOptions {
            globals,
            typescript,
            exact_integers,
        } = self.options;
        writer.number((globals == Globals::Web).into());
        writer.number(typescript.into());
        writer.number(exact_integers.into());
        writer.number(self.tools.len() as u64);
        for tool in &self.tools {
            writer.text(&tool.name).text(&tool.tool_name.name);
            match &tool.tool_name.namespace {
                None => drop(writer.number(0)),
                Some(namespace) => drop(writer.number(1).text(namespace)),
            }
        }
        // One more than there are, so that 0 can say that they are to be asked for.
        writer.number(
            self.stored
                .as_ref()
                .map_or(0, |stored| stored.len() as u64 + 1),
        );
        for (key, value) in self.stored.iter().flatten() {
            writer.text(key).text(value);
        }
        writer.rest(&self.source);
    }

    fn limits_as_numbers(&self) -> [u64; 11] {
        let limits = &self.limits;
        [
            limits.heap_bytes,
            limits.external_bytes,
            micros(limits.cpu_time),
            micros(limits.wall_time),
            limits.output_bytes,
            limits.output_items,
            limits.open_tool_calls,
            limits.total_tool_calls,
            limits.timers,
            limits.value_bytes,
            limits.stored_value_bytes,
        ]
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Nonsense> {
        let limits = EffectiveLimits {
            heap_bytes: reader.number()?,
            external_bytes: reader.number()?,
            cpu_time: Duration::from_micros(reader.number()?),
            wall_time: Duration::from_micros(reader.number()?),
            output_bytes: reader.number()?,
            output_items: reader.number()?,
            open_tool_calls: reader.number()?,
            total_tool_calls: reader.number()?,
            timers: reader.number()?,
            value_bytes: reader.number()?,
            stored_value_bytes: reader.number()?,
        };
        let answer_spin = Duration::from_micros(reader.number()?);
        let options = ScriptOptions {
            globals: match reader.number()? {
                0 => Globals::Contract,
                _ => Globals::Web,
            },
            typescript: reader.number()? != 0,
            exact_integers: reader.number()? != 0,
        };
        let mut tools = Vec::new();
        for _ in 0..reader.number()? {
            tools.push(OfferedTool {
                name: reader.text()?.to_owned(),
                tool_name: ToolName {
                    name: reader.text()?.to_owned(),
                    namespace: match reader.number()? {
                        0 => None,
                        _ => Some(reader.text()?.to_owned()),
                    },
                },
            });
        }
        let stored = match reader.number()?.checked_sub(1) {
            None => None,
            Some(count) => {
                let mut stored = Vec::new();
                for _ in 0..count {
                    stored.push((reader.text()?.to_owned(), reader.text()?.to_owned()));
                }
                Some(stored)
            }
        };
        Ok(Self {
            source: reader.rest()?.to_owned(),
            limits,
            answer_spin,
            options,
            tools,
            stored,
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Appends what a cell tells the host, without taking what it is made of. The last text of what may be long is given
/// back in place of that, and follows.
pub(crate) mod tell {
    use super::{DeathNote, Writer, detail_byte, kind};
    use code_mode_api::ContentItem;
    use code_mode_engine::ToolCall;

    pub(crate) fn output<'t>(to: &mut Vec<u8>, item: &'t ContentItem) -> &'t str {
        match item {
            ContentItem::Text(text) => Writer::new(to, kind::TEXT).rest_follows(text),
            ContentItem::Image { image_url, detail } => {
                let mut writer = Writer::new(to, kind::IMAGE);
                writer.bytes.push(detail_byte(*detail));
                writer.rest_follows(image_url)
            }
            ContentItem::Audio { audio_url } => {
                Writer::new(to, kind::AUDIO).rest_follows(audio_url)
            }
        }
    }

    pub(crate) fn call<'t>(to: &mut Vec<u8>, call: &'t ToolCall) -> &'t str {
        Writer::new(to, kind::CALL)
            .number(call.call)
            .number(call.number)
            .number(call.tool as u64)
            .rest_follows(&call.input)
    }

    pub(crate) fn abandon(to: &mut Vec<u8>, call: u64) {
        Writer::new(to, kind::ABANDON).number(call);
    }

    pub(crate) fn notify<'t>(to: &mut Vec<u8>, call: u64, text: &'t str) -> &'t str {
        Writer::new(to, kind::NOTIFY)
            .number(call)
            .rest_follows(text)
    }

    pub(crate) fn yield_control(to: &mut Vec<u8>) {
        drop(Writer::new(to, kind::YIELD));
    }

    pub(crate) fn save<'t>(to: &mut Vec<u8>, key: &str, value: &'t str) -> &'t str {
        Writer::new(to, kind::SAVE).text(key).rest_follows(value)
    }

    pub(crate) fn load(to: &mut Vec<u8>, key: &str) {
        Writer::new(to, kind::LOAD).rest(key);
    }

    pub(crate) fn describe(to: &mut Vec<u8>) {
        drop(Writer::new(to, kind::DESCRIBE));
    }

    pub(crate) fn end(to: &mut Vec<u8>, error_text: Option<&str>) {
        match error_text {
            None => drop(Writer::new(to, kind::END)),
            Some(text) => {
                Writer::new(to, kind::FAILED).rest(text);
            }
        }
    }

    pub(crate) fn note(to: &mut Vec<u8>, note: &DeathNote) {
        match note {
            DeathNote::OutOfMemory(location) => {
                Writer::new(to, kind::OUT_OF_MEMORY).rest(location);
            }
            DeathNote::Broken(message) => {
                Writer::new(to, kind::BROKEN).rest(message);
            }
            DeathNote::Panicked(message) => {
                Writer::new(to, kind::PANICKED).rest(message);
            }
            DeathNote::Forbidden(number) => {
                Writer::new(to, kind::FORBIDDEN).number(number.cast_unsigned());
            }
            DeathNote::Aborted => {
                Writer::new(to, kind::ABORTED).number(0);
            }
            DeathNote::Unprepared(reason) => {
                Writer::new(to, kind::UNPREPARED).rest(reason);
            }
        }
    }
}

/// The message for a call that was forbidden, made without memory. A process that aborts sends itself a
/// signal, which is forbidden as well, and says so.
pub(crate) fn last_words(call: i64, aborts: bool) -> [u8; HEADER_BYTES + 9] {
    let kind = if aborts {
        kind::ABORTED
    } else {
        kind::FORBIDDEN
    };
    let mut message = [0; HEADER_BYTES + 9];
    let (header, body) = message.split_at_mut(HEADER_BYTES);
    header.copy_from_slice(&9_u32.to_le_bytes());
    if let Some((first, number)) = body.split_first_mut() {
        *first = kind;
        number.copy_from_slice(&call.to_le_bytes());
    }
    message
}

impl FromCell {
    /// Appends the message, for whoever plays a cell: a cell itself tells things as they come.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let rest = match self {
            Self::Output(item) => tell::output(to, item),
            Self::Call(call) => tell::call(to, call),
            Self::Notify(call, text) => tell::notify(to, *call, text),
            Self::Save(key, value) => tell::save(to, key, value),
            Self::Abandon(call) => return tell::abandon(to, *call),
            Self::Yield => return tell::yield_control(to),
            Self::Load(key) => return tell::load(to, key),
            Self::Describe => return tell::describe(to),
            Self::End(error_text) => return tell::end(to, error_text.as_deref()),
            Self::Note(note) => return tell::note(to, note),
        };
        to.extend_from_slice(rest.as_bytes());
    }

    /// Reads a message without its header whose bytes are nobody else's: a text and a tool's input stay where they
    /// are.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode_own(body: Vec<u8>) -> Result<Self, Nonsense> {
        let mut reader = Reader(&body);
        match reader.byte()? {
            kind::TEXT => Ok(Self::Output(ContentItem::Text(text_behind(body, 1)?))),
            kind::CALL => {
                let (call, number) = (reader.number()?, reader.number()?);
                let tool = tool(reader.number()?)?;
                let before = body.len() - reader.0.len();
                Ok(Self::Call(ToolCall {
                    call,
                    number,
                    tool,
                    input: text_behind(body, before)?,
                }))
            }
            _ => Self::decode(&body),
        }
    }

    /// Reads a message without its header.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(body: &[u8]) -> Result<Self, Nonsense> {
        let mut reader = Reader(body);
        let message = match reader.byte()? {
            kind::TEXT => Self::Output(ContentItem::Text(reader.rest()?.to_owned())),
            kind::IMAGE => {
                let detail = detail_of(reader.byte()?)?;
                let image_url = reader.rest()?.to_owned();
                Self::Output(ContentItem::Image { image_url, detail })
            }
            kind::AUDIO => Self::Output(ContentItem::Audio {
                audio_url: reader.rest()?.to_owned(),
            }),
            kind::CALL => Self::Call(ToolCall {
                call: reader.number()?,
                number: reader.number()?,
                tool: tool(reader.number()?)?,
                input: reader.rest()?.to_owned(),
            }),
            kind::ABANDON => Self::Abandon(reader.number()?),
            kind::NOTIFY => Self::Notify(reader.number()?, reader.rest()?.to_owned()),
            kind::YIELD => Self::Yield,
            kind::SAVE => Self::Save(reader.text()?.to_owned(), reader.rest()?.to_owned()),
            kind::LOAD => Self::Load(reader.rest()?.to_owned()),
            kind::DESCRIBE => Self::Describe,
            kind::END => Self::End(None),
            kind::FAILED => Self::End(Some(reader.rest()?.to_owned())),
            kind::OUT_OF_MEMORY => Self::Note(DeathNote::OutOfMemory(reader.rest()?.to_owned())),
            kind::BROKEN => Self::Note(DeathNote::Broken(reader.rest()?.to_owned())),
            kind::PANICKED => Self::Note(DeathNote::Panicked(reader.rest()?.to_owned())),
            kind::FORBIDDEN => Self::Note(DeathNote::Forbidden(reader.number()?.cast_signed())),
            kind::ABORTED => {
                // The number of the call says nothing more.
                reader.number()?;
                Self::Note(DeathNote::Aborted)
            }
            kind::UNPREPARED => Self::Note(DeathNote::Unprepared(reader.rest()?.to_owned())),
            _ => return Err(Nonsense("a message of no kind that a cell sends")),
        };
        reader.done()?;
        Ok(message)
    }
}

fn tool(number: u64) -> Result<usize, Nonsense> {
    usize::try_from(number).map_err(|_| Nonsense("a tool that there is not"))
}

/// What follows the first bytes of a message, in the memory of the message.
fn text_behind(mut message: Vec<u8>, before: usize) -> Result<String, Nonsense> {
    message.drain(..before);
    message.shrink_to_fit();
    String::from_utf8(message).map_err(|_| NOT_UTF8)
}

fn detail_byte(detail: Option<ImageDetail>) -> u8 {
    match detail {
        None => 0,
        Some(ImageDetail::Auto) => 1,
        Some(ImageDetail::Low) => 2,
        Some(ImageDetail::High) => 3,
        Some(ImageDetail::Original) => 4,
    }
}

fn detail_of(byte: u8) -> Result<Option<ImageDetail>, Nonsense> {
    Ok(match byte {
        0 => None,
        1 => Some(ImageDetail::Auto),
        2 => Some(ImageDetail::Low),
        3 => Some(ImageDetail::High),
        4 => Some(ImageDetail::Original),
        _ => return Err(Nonsense("an image with a detail that there is not")),
    })
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
