//! The agent against a scripted model: what it executes, what it observes, and how it ends.

use std::collections::VecDeque;

use glasshouse_agent::{AgentEnd, AgentEvent, AgentOutcome, AgentRequest, Limits};
use glasshouse_guest::{
    ErrorData,
    protocol::{
        Constraint, FinishReason, GenerateRequest, GenerateResponse, GuardHalt, Message, ModelDescription,
        Request, Role, ToolDescription, Usage,
    },
    testing,
};
use react::run;
use serde_json::{Value, json};

const CALL: &str = "Thought: I should calculate this.\nCall: calculate {\"expression\":\"17 * 23\"}";
const ANSWER: &str = "Thought: I have what I need.\nAnswer: It is 391.";

/// A model that says what is scripted, and one tool, `calculate`.
struct World {
    script: VecDeque<Result<(String, FinishReason), ErrorData>>,
    context_length: u32,
    knows_agent_protocol: bool,
    tool_result: Result<Value, ErrorData>,
    generations: Vec<GenerateRequest>,
    calls: Vec<(String, Value)>,
}

impl World {
    fn new(script: &[(&str, FinishReason)]) -> Self {
        Self {
            script: script.iter().map(|(text, finish)| Ok(((*text).to_owned(), *finish))).collect(),
            context_length: 4096,
            knows_agent_protocol: false,
            tool_result: Ok(json!("391")),
            generations: Vec::new(),
            calls: Vec::new(),
        }
    }

    fn saying(texts: &[&str]) -> Self {
        let script: Vec<(&str, FinishReason)> =
            texts.iter().map(|text| (*text, FinishReason::Stop)).collect();
        Self::new(&script)
    }

    fn answer(&mut self, request: Request) -> Result<Value, ErrorData> {
        let value = match request {
            Request::DescribeModel {} => serde_json::to_value(ModelDescription {
                name: "script".into(),
                architecture: "none".into(),
                context_length: self.context_length,
                knows_agent_protocol: self.knows_agent_protocol,
            }),
            Request::Generate(generation) => {
                self.generations.push(generation);
                let (text, finish) = self.script.pop_front().expect("the script is long enough")?;
                let usage = Usage {
                    prompt_tokens: 100,
                    cached_tokens: 60,
                    evaluated_tokens: 50,
                    generated_tokens: 10,
                };
                serde_json::to_value(GenerateResponse {
                    usage,
                    halt: halt(finish),
                    ..GenerateResponse::new(text, finish, vec![0; 10])
                })
            }
            Request::CallTool { name, arguments } => {
                self.calls.push((name, arguments));
                return self.tool_result.clone();
            }
            other => panic!("unexpected request: {other:?}"),
        };
        Ok(value.unwrap())
    }

    fn ask(&mut self, request: &AgentRequest) -> Result<AgentOutcome, ErrorData> {
        let value =
            testing::call(run, &serde_json::to_value(request).unwrap(), |request| self.answer(request))?;
        Ok(serde_json::from_value(value).unwrap())
    }
}

fn halt(finish: FinishReason) -> Option<GuardHalt> {
    (finish == FinishReason::Halted).then(|| GuardHalt {
        index: 9,
        trigger: 9,
        rule: "window_avg".into(),
        value: Some(0.5),
        limit: Some(0.55),
        reason: "window_avg".into(),
        trace: vec![],
    })
}

fn request() -> AgentRequest {
    let calculate = ToolDescription {
        name: "calculate".into(),
        description: "Evaluates an expression.".into(),
        parameters: json!({"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}),
        entry: "calculate".into(),
        services: vec!["clock".into()],
    };
    AgentRequest { question: "What is 17 * 23?".into(), tools: vec![calculate], ..AgentRequest::default() }
}

fn events() -> Vec<AgentEvent> {
    testing::take_events().iter().map(|event| serde_json::from_slice(event).unwrap()).collect()
}

#[test]
fn a_tool_is_called_its_result_observed_and_the_question_answered() {
    let mut world = World::saying(&[CALL, ANSWER]);
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(outcome.end, AgentEnd::Answer { text: "It is 391.".into() });
    assert_eq!((outcome.steps, outcome.usage.generated_tokens, outcome.usage.cached_tokens), (2, 20, 120));
    assert_eq!(world.calls, [("calculate".to_owned(), json!({"expression": "17 * 23"}))]);
    assert_eq!(
        events(),
        [
            AgentEvent::Thought { step: 1, text: "I should calculate this.".into() },
            AgentEvent::Call {
                step: 1,
                tool: "calculate".into(),
                arguments: json!({"expression": "17 * 23"})
            },
            AgentEvent::Observation { step: 1, tool: "calculate".into(), text: "391".into(), failed: false },
            AgentEvent::Thought { step: 2, text: "I have what I need.".into() },
            AgentEvent::Answer { step: 2, text: "It is 391.".into() },
        ]
    );
    let [first, second] = world.generations.as_slice() else { panic!("two generations") };
    assert_eq!(first.messages[1], Message::new(Role::User, "What is 17 * 23?"));
    assert!(matches!(&first.constraint, Constraint::Lark(grammar) if grammar.contains("calculate")));
    assert_eq!(second.messages[..2], first.messages[..], "the conversation only grows at its end");
    assert_eq!(second.messages[2..], [Message::new(Role::Assistant, CALL), Message::new(Role::Tool, "391")]);
}

#[test]
fn earlier_turns_stand_before_the_question_and_their_answers_as_the_model_gave_them() {
    let mut world = World::saying(&[ANSWER]);
    let history = vec![Message::new(Role::User, "Hello."), Message::new(Role::Assistant, "Hi.")];
    world.ask(&AgentRequest { history, ..request() }).unwrap();
    let messages = &world.generations[0].messages;
    assert_eq!(
        messages[1..],
        [
            Message::new(Role::User, "Hello."),
            Message::new(Role::Assistant, "Answer: Hi."),
            Message::new(Role::User, "What is 17 * 23?"),
        ]
    );
}

#[test]
fn a_model_is_told_of_its_tools_once_by_instructions_or_by_its_template() {
    let mut instructed = World::saying(&[ANSWER]);
    instructed.ask(&request()).unwrap();
    let generation = &instructed.generations[0];
    assert!(generation.tools.is_empty());
    assert_eq!(generation.messages[0].role, Role::System);
    assert!(generation.messages[0].content.contains("- calculate: Evaluates an expression."));

    let mut trained = World { knows_agent_protocol: true, ..World::saying(&[ANSWER]) };
    let history = vec![Message::new(Role::User, "Hello."), Message::new(Role::Assistant, "Hi.")];
    trained.ask(&AgentRequest { history, ..request() }).unwrap();
    let generation = &trained.generations[0];
    assert_eq!(generation.messages, [Message::new(Role::User, "What is 17 * 23?")]);
    let shown = serde_json::to_value(&generation.tools[0]).unwrap();
    assert_eq!(shown.as_object().unwrap().keys().collect::<Vec<_>>(), ["name", "description", "parameters"]);
}

#[test]
fn a_call_that_was_cut_off_is_never_executed_even_if_it_looks_whole() {
    let halted = FinishReason::Halted;
    for finish in [FinishReason::Length, FinishReason::Context, FinishReason::Cancelled, halted] {
        let mut world = World::new(&[(CALL, finish)]);
        let outcome = world.ask(&request()).unwrap();
        assert_eq!(world.calls, []);
        let expected = match finish {
            FinishReason::Length => AgentEnd::StepTruncated { limit: 512, partial: CALL.into() },
            FinishReason::Context => AgentEnd::ContextExhausted { limit: 4096, partial: CALL.into() },
            FinishReason::Halted => AgentEnd::Halted { partial: CALL.into(), reason: "window_avg".into() },
            _ => AgentEnd::Cancelled { partial: CALL.into() },
        };
        assert_eq!(outcome.end, expected);
        assert_eq!(events(), [AgentEvent::Exhausted { step: 1, end: expected }]);
    }
}

#[test]
fn an_answer_that_was_cut_off_is_not_an_answer() {
    let outcome = World::new(&[(ANSWER, FinishReason::Length)]).ask(&request()).unwrap();
    assert_eq!(outcome.answer(), None);
    assert_eq!(outcome.end, AgentEnd::StepTruncated { limit: 512, partial: ANSWER.into() });
}

#[test]
fn running_out_of_steps_is_an_outcome() {
    let mut request = request();
    request.limits.maximum_steps = 2;
    let other = CALL.replace("17", "18");
    let mut world = World::saying(&[CALL, &other]);
    let outcome = world.ask(&request).unwrap();
    assert_eq!((outcome.end, outcome.steps), (AgentEnd::StepsExhausted { limit: 2 }, 2));
    assert_eq!(world.calls.len(), 2);
}

#[test]
fn running_out_of_tokens_is_an_outcome_between_steps_and_within_one() {
    let mut request = request();
    request.limits = Limits { maximum_tokens: 10, ..Limits::default() };
    let mut world = World::saying(&[CALL]);
    let outcome = world.ask(&request).unwrap();
    assert_eq!(outcome.end, AgentEnd::TokensExhausted { limit: 10, partial: String::new() });
    assert_eq!(world.generations[0].maximum_tokens, 10);

    request.limits.maximum_tokens = 15;
    let mut world = World::new(&[(CALL, FinishReason::Stop), ("Thought: I", FinishReason::Length)]);
    let outcome = world.ask(&request).unwrap();
    assert_eq!(outcome.end, AgentEnd::TokensExhausted { limit: 15, partial: "Thought: I".into() });
    assert_eq!(world.generations[1].maximum_tokens, 5);
}

#[test]
fn limits_of_zero_end_before_the_model_is_asked() {
    for (limits, end) in [
        (Limits { maximum_steps: 0, ..Limits::default() }, AgentEnd::StepsExhausted { limit: 0 }),
        (
            Limits { maximum_tokens: 0, ..Limits::default() },
            AgentEnd::TokensExhausted { limit: 0, partial: String::new() },
        ),
        (
            Limits { maximum_tokens_per_step: 0, ..Limits::default() },
            AgentEnd::StepTruncated { limit: 0, partial: String::new() },
        ),
    ] {
        let outcome = World::saying(&[]).ask(&AgentRequest { limits, ..request() }).unwrap();
        assert_eq!(outcome.end, end);
    }
}

#[test]
fn a_prompt_that_does_not_fit_the_context_is_an_outcome() {
    let mut world = World::saying(&[]);
    world.script.push_back(Err(ErrorData::new("context_overflow", "too long")));
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(outcome.end, AgentEnd::ContextExhausted { limit: 4096, partial: String::new() });
}

#[test]
fn a_small_context_bounds_the_tokens_of_a_step() {
    let mut world = World::new(&[("Thought: I", FinishReason::Length)]);
    world.context_length = 300;
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(world.generations[0].maximum_tokens, 300);
    assert_eq!(outcome.end, AgentEnd::ContextExhausted { limit: 300, partial: "Thought: I".into() });
}

#[test]
fn the_error_of_a_tool_is_observed_and_the_agent_goes_on() {
    let mut world = World::saying(&[CALL, "Answer: That cannot be computed."]);
    world.tool_result = Err(ErrorData::new("no_result", "division by zero"));
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(outcome.answer(), Some("That cannot be computed."));
    assert_eq!(world.generations[1].messages[3], Message::new(Role::Tool, "error: division by zero"));
    assert!(matches!(&events()[2], AgentEvent::Observation { failed: true, .. }));
}

#[test]
fn a_tool_that_was_not_granted_is_not_called() {
    let mut world = World::saying(&["Call: delete_all {}", "Answer: I cannot do that."]);
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(outcome.answer(), Some("I cannot do that."));
    assert_eq!(world.calls, []);
    let observed = &world.generations[1].messages[3].content;
    assert_eq!(observed, "error: there is no tool named delete_all");
}

#[test]
fn the_third_identical_call_in_a_row_ends_the_agent() {
    let mut world = World::saying(&[CALL, CALL, CALL]);
    let outcome = world.ask(&request()).unwrap();
    assert_eq!(outcome.end, AgentEnd::Repeating { tool: "calculate".into(), times: 3 });
    assert_eq!(world.calls.len(), 2);
}

#[test]
fn an_output_that_is_no_step_is_an_outcome() {
    let outcome = World::saying(&["It is 391."]).ask(&request()).unwrap();
    assert!(matches!(&outcome.end, AgentEnd::Malformed { text, .. } if text == "It is 391."));
}

#[test]
fn a_long_observation_is_cut_to_a_quarter_of_the_context() {
    let mut world = World::saying(&[CALL, ANSWER]);
    world.context_length = 1024;
    world.tool_result = Ok(json!("x".repeat(5000)));
    world.ask(&request()).unwrap();
    let observed = &world.generations[1].messages[3].content;
    assert_eq!(observed.len(), 256);
    assert!(observed.ends_with(" …[truncated]"));
}

#[test]
fn a_request_that_cannot_be_served_is_an_error() {
    let empty = AgentRequest { question: " \n".into(), ..request() };
    assert_eq!(World::saying(&[]).ask(&empty).unwrap_err().code, "empty_question");
    let mut twice = request();
    twice.tools.push(twice.tools[0].clone());
    assert_eq!(World::saying(&[]).ask(&twice).unwrap_err().code, "invalid_tools");
    let mut world = World::saying(&[]);
    world.script.push_back(Err(ErrorData::new("no_model", "no model is loaded")));
    assert_eq!(world.ask(&request()).unwrap_err().code, "no_model");
}
