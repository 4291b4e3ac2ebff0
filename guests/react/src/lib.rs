//! The default agent: think, call tools, observe, answer.
//!
//! - [`run`]: the entry. Takes an [`AgentRequest`], emits an [`AgentEvent`] for everything that it does, and ends with
//!   an [`AgentOutcome`].
//!
//! Invariants: a call is executed only if the model ended its turn by itself, so never one that a limit cut off; every
//! limit ends in an outcome of its own; the conversation only grows at its end, so each generation shares its whole
//! prefix with the one before.

use glasshouse_agent::{
    ANSWER, Action, AgentEnd, AgentEvent, AgentOutcome, AgentRequest, UsageTotals, grammar, observation,
    observation_budget, parse, system_prompt,
};
use glasshouse_guest::{
    ErrorData, emit, entry, model,
    protocol::{
        Constraint, FinishReason, GenerateRequest, Message, ModelDescription, Role, ToolDescription, codes,
    },
    tools,
};
use serde_json::{Map, Value};

/// A model that makes the same call so many times in a row does not see that it goes in circles. The last of them is
/// not executed.
const MAXIMUM_REPEATS: u32 = 3;

/// Answers a question with the granted tools.
///
/// # Errors
///
/// `empty_question`, `invalid_tools`, and what the model service answers; running out of anything is an outcome.
pub async fn run(request: AgentRequest) -> Result<AgentOutcome, ErrorData> {
    if request.question.trim().is_empty() {
        return Err(ErrorData::new("empty_question", "the question is empty; say what you want to know"));
    }
    let grammar = grammar(&request.tools).map_err(|error| ErrorData::from_error("invalid_tools", &error))?;
    let model = model::describe().await?;
    let mut messages = Vec::new();
    let mut tools = Vec::new();
    if model.knows_agent_protocol {
        tools.extend(request.tools.iter().map(for_template));
        messages.extend(request.system.as_deref().map(|system| Message::new(Role::System, system)));
    } else {
        messages.push(Message::new(Role::System, system_prompt(&request.tools, request.system.as_deref())));
        // A model that was trained on the protocol knows single questions, and earlier ones lead it astray.
        messages.extend(request.history.iter().map(as_said));
    }
    messages.push(Message::new(Role::User, request.question.as_str()));
    let generation = GenerateRequest {
        tools,
        constraint: Constraint::Lark(grammar),
        sampling: request.sampling.clone(),
        ..GenerateRequest::new(messages, 0)
    };
    let mut agent =
        Agent { request, model, generation, steps: 0, usage: UsageTotals::default(), last_call: None };
    let end = loop {
        if let Some(end) = agent.step().await? {
            break end;
        }
    };
    let event = match &end {
        AgentEnd::Answer { text } => AgentEvent::Answer { step: agent.steps, text: text.clone() },
        _ => AgentEvent::Exhausted { step: agent.steps, end: end.clone() },
    };
    emit(&event)?;
    Ok(AgentOutcome { end, steps: agent.steps, usage: agent.usage })
}

entry!(run);

/// A message of earlier turns as the model knows it: what it answered stood behind a word.
fn as_said(message: &Message) -> Message {
    match message.role {
        Role::Assistant => Message::new(Role::Assistant, format!("{ANSWER}{}", message.content)),
        _ => message.clone(),
    }
}

/// What a chat template may show of a tool; how the host runs it is no business of the model.
fn for_template(tool: &ToolDescription) -> ToolDescription {
    ToolDescription { entry: String::new(), services: Vec::new(), ..tool.clone() }
}

/// What stops a generation first.
#[derive(Clone, Copy)]
enum Bound {
    Total,
    Step,
    Context,
}

/// A call that was made, and how often in a row.
struct LastCall {
    tool: String,
    arguments: Map<String, Value>,
    times: u32,
}

struct Agent {
    request: AgentRequest,
    model: ModelDescription,
    /// The next generation: the conversation so far, and what stays the same.
    generation: GenerateRequest,
    /// Generations made.
    steps: u32,
    usage: UsageTotals,
    last_call: Option<LastCall>,
}

impl Agent {
    /// One generation and what follows from it; the end, if there is one.
    async fn step(&mut self) -> Result<Option<AgentEnd>, ErrorData> {
        let limits = self.request.limits;
        if self.steps == limits.maximum_steps {
            return Ok(Some(AgentEnd::StepsExhausted { limit: limits.maximum_steps }));
        }
        let (maximum_tokens, bound) = self.maximum_tokens();
        if maximum_tokens == 0 {
            return Ok(Some(self.exhausted(bound, String::new())));
        }
        self.generation.maximum_tokens = maximum_tokens;
        let response = match model::generate(self.generation.clone()).await {
            Ok(response) => response,
            Err(error) if error.code == codes::CONTEXT_OVERFLOW => {
                return Ok(Some(self.exhausted(Bound::Context, String::new())));
            }
            Err(error) => return Err(error),
        };
        self.steps += 1;
        self.usage.add(&response.usage);
        match response.finish {
            FinishReason::Stop | FinishReason::ToolCall => {}
            FinishReason::Length => return Ok(Some(self.exhausted(bound, response.text))),
            FinishReason::Context => return Ok(Some(self.exhausted(Bound::Context, response.text))),
            FinishReason::Cancelled => return Ok(Some(AgentEnd::Cancelled { partial: response.text })),
            FinishReason::Halted => {
                let reason = response.halt.map(|halt| halt.reason).unwrap_or_default();
                return Ok(Some(AgentEnd::Halted { partial: response.text, reason }));
            }
        }
        let step = match parse(&response.text) {
            Ok(step) => step,
            Err(error) => {
                return Ok(Some(AgentEnd::Malformed { text: response.text, reason: error.to_string() }));
            }
        };
        if let Some(text) = step.thought {
            emit(&AgentEvent::Thought { step: self.steps, text })?;
        }
        match step.action {
            Action::Answer(text) => Ok(Some(AgentEnd::Answer { text })),
            Action::Call { tool, arguments } => {
                self.generation.messages.push(Message::new(Role::Assistant, response.text));
                self.call(tool, arguments).await
            }
        }
    }

    /// How many tokens the next generation may have, and which limit that is.
    fn maximum_tokens(&self) -> (u32, Bound) {
        let limits = &self.request.limits;
        let left = u64::from(limits.maximum_tokens).saturating_sub(self.usage.generated_tokens);
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let bounds = [
            (left, Bound::Total),
            (limits.maximum_tokens_per_step, Bound::Step),
            (self.model.context_length, Bound::Context),
        ];
        bounds.into_iter().min_by_key(|(tokens, _)| *tokens).unwrap_or((left, Bound::Total))
    }

    /// The end that belongs to a bound.
    fn exhausted(&self, bound: Bound, partial: String) -> AgentEnd {
        match bound {
            Bound::Total => AgentEnd::TokensExhausted { limit: self.request.limits.maximum_tokens, partial },
            Bound::Step => {
                AgentEnd::StepTruncated { limit: self.request.limits.maximum_tokens_per_step, partial }
            }
            Bound::Context => AgentEnd::ContextExhausted { limit: self.model.context_length, partial },
        }
    }

    /// Calls a tool and appends what it says to the conversation.
    async fn call(
        &mut self,
        tool: String,
        arguments: Map<String, Value>,
    ) -> Result<Option<AgentEnd>, ErrorData> {
        let times = match &self.last_call {
            Some(last) if last.tool == tool && last.arguments == arguments => last.times + 1,
            _ => 1,
        };
        if times == MAXIMUM_REPEATS {
            return Ok(Some(AgentEnd::Repeating { tool, times }));
        }
        self.last_call = Some(LastCall { tool: tool.clone(), arguments: arguments.clone(), times });
        let (step, arguments) = (self.steps, Value::Object(arguments));
        emit(&AgentEvent::Call { step, tool: tool.clone(), arguments: arguments.clone() })?;
        let result = if self.request.tools.iter().any(|granted| granted.name == tool) {
            tools::call(&tool, arguments).await
        } else {
            Err(ErrorData::new("unknown_tool", format!("there is no tool named {tool}")))
        };
        let text = observation(result.as_ref(), observation_budget(self.model.context_length));
        emit(&AgentEvent::Observation { step, tool, text: text.clone(), failed: result.is_err() })?;
        self.generation.messages.push(Message::new(Role::Tool, text));
        Ok(None)
    }
}
