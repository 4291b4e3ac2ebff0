//! Where a request goes: to a service outside, to a tool's own process, or straight back with an error.

use glasshouse_protocol::{ErrorData, Request, services};

use crate::{
    Capability, Effect, EventKind, ExitReason, Fuel, Kernel, Life, Limits, MAX_MESSAGE_BYTES, MAX_NAME_BYTES,
    ModuleHash, RequestId, ToolTarget,
    message::{bad_request, requested_service},
    process::{Awaited, Caller, Identity, Living, Process, Running, Stepping},
    seed,
};

/// The request that the kernel answers itself.
const TOOL_CALL: &str = "tool.call";

impl Kernel {
    /// Takes the request that a step returned.
    pub(crate) fn route(
        &mut self,
        mut process: Process<Running<Stepping>>,
        payload: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let id = process.id;
        if process.account.requests >= process.identity.limits.requests {
            let message = format!("the process made more than {} requests", process.identity.limits.requests);
            let failure = (ExitReason::Failed, ErrorData::new("request_limit", message));
            return self.finish(id, Living::Stepping(process), Err(failure), effects);
        }
        process.account.requests += 1;
        let request = self.new_request();
        let service = match requested_service(&payload) {
            Ok(service) => service,
            Err(error) => return self.refuse(process, error, effects),
        };
        if service == TOOL_CALL {
            return self.call_tool(process, request, payload, effects);
        }
        let name = service.split_once('.').map_or(service.as_str(), |(name, _)| name);
        if name == services::TOOL {
            let error = bad_request(&format!("tools have no operation {service}; use {TOOL_CALL}"));
            return self.refuse(process, error, effects);
        }
        let capability = Capability::Service(name.to_owned());
        if !process.may(&capability) {
            return self.deny(process, request, capability, effects);
        }
        let event = match name {
            services::FILES => EventKind::FileAccessed { process: id, request, service: service.clone() },
            services::MEMORY => EventKind::MemoryAccessed { process: id, request, service: service.clone() },
            _ => EventKind::ServiceCalled { process: id, request, service: service.clone() },
        };
        self.publish(event, effects);
        self.perform(process, request, service.clone(), Awaited::Service(service), payload, effects);
    }

    fn call_tool(
        &mut self,
        process: Process<Running<Stepping>>,
        request: RequestId,
        payload: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let (name, arguments) = match serde_json::from_slice::<Request>(&payload) {
            Ok(Request::CallTool { name, arguments }) if name.len() <= MAX_NAME_BYTES => (name, arguments),
            Ok(Request::CallTool { .. }) => {
                let reason = format!("the name of a tool has at most {MAX_NAME_BYTES} bytes");
                return self.refuse(process, bad_request(&reason), effects);
            }
            Ok(_) => return self.refuse(process, bad_request("it is not a tool call"), effects),
            Err(error) => return self.refuse(process, bad_request(&error.to_string()), effects),
        };
        let capability = Capability::Tool(name.clone());
        if !process.may(&capability) {
            return self.deny(process, request, capability, effects);
        }
        let arguments = match serde_json::to_vec(&arguments) {
            Ok(json) if arguments.is_object() && json.len() <= MAX_MESSAGE_BYTES => json,
            Ok(json) if json.len() > MAX_MESSAGE_BYTES => {
                let reason = format!("the arguments of a tool have at most {MAX_MESSAGE_BYTES} bytes");
                return self.refuse(process, bad_request(&reason), effects);
            }
            _ => return self.refuse(process, bad_request("the arguments of a tool are an object"), effects),
        };
        let Some(target) = self.tools.get(&name).cloned() else {
            let error = ErrorData::new("unknown_tool", format!("there is no tool named {name}"));
            return self.refuse(process, error, effects);
        };
        let called = EventKind::ToolCalled {
            process: process.id,
            request,
            name: name.clone(),
            arguments: arguments.clone(),
        };
        match target {
            ToolTarget::Service(service) => {
                self.publish(called, effects);
                self.perform(process, request, service, Awaited::ServiceTool { name }, payload, effects);
            }
            ToolTarget::Guest { module, entry, grants, limits } => {
                if let Err(error) = self.may_have_child(&process) {
                    return self.refuse(process, error, effects);
                }
                self.publish(called, effects);
                let tool = Tool { name, module, entry, grants, limits };
                self.start_tool(process, request, tool, &arguments, effects);
            }
        }
    }

    fn may_have_child(&self, process: &Process<Running<Stepping>>) -> Result<(), ErrorData> {
        let limits = &process.identity.limits;
        if limits.depth == 0 {
            return Err(ErrorData::new(
                "tool_depth",
                "this process may not call tools that run as processes",
            ));
        }
        if process.account.children >= limits.children {
            let message = format!("the process may call tools {} times only", limits.children);
            return Err(ErrorData::new("tool_limit", message));
        }
        if self.is_full(1) {
            let message = format!("{} processes are running, which is the limit", self.config.processes);
            return Err(ErrorData::new("process_limit", message));
        }
        Ok(())
    }

    fn start_tool(
        &mut self,
        mut caller: Process<Running<Stepping>>,
        request: RequestId,
        tool: Tool,
        arguments: &[u8],
        effects: &mut Vec<Effect>,
    ) {
        let Tool { name, module, entry, mut grants, mut limits } = tool;
        if grants.contains(&Capability::Service(services::FILES.to_owned())) {
            let mounts =
                caller.identity.grants.iter().filter(|grant| matches!(grant, Capability::Mount { .. }));
            let missing: Vec<Capability> = mounts.filter(|mount| !grants.contains(mount)).cloned().collect();
            grants.extend(missing);
        }
        // What a tool uses is the caller's, so a chain of tools cannot use more than its root was given.
        limits.fuel = Fuel(limits.fuel.0.min(caller.account.fuel_left.0));
        limits.depth = limits.depth.min(caller.identity.limits.depth.saturating_sub(1));
        caller.account.children += 1;

        let (id, child) = (caller.id, self.new_process());
        let identity = Identity {
            name: name.clone(),
            module,
            caller: Some(Caller { process: id, request }),
            grants,
            limits,
            life: Life::Once,
        };
        self.living.insert(id, Living::Waiting(caller.wait(request, Awaited::GuestTool { name, child })));
        self.start(child, identity, entry, arguments, effects);
    }

    fn perform(
        &mut self,
        process: Process<Running<Stepping>>,
        request: RequestId,
        service: String,
        awaited: Awaited,
        payload: Vec<u8>,
        effects: &mut Vec<Effect>,
    ) {
        let id = process.id;
        let grants = process.identity.grants.clone();
        self.performing.insert(request, id);
        self.living.insert(id, Living::Waiting(process.wait(request, awaited)));
        let seed = seed::request_seed(self.config.seed, request);
        effects.push(Effect::Perform { request, process: id, service, payload, grants, seed });
    }

    fn deny(
        &mut self,
        process: Process<Running<Stepping>>,
        request: RequestId,
        capability: Capability,
        effects: &mut Vec<Effect>,
    ) {
        let message =
            format!("the process may not use {capability}: it was not granted when the process was started");
        self.publish(EventKind::CapabilityDenied { process: process.id, request, capability }, effects);
        self.refuse(process, ErrorData::new("capability_denied", message), effects);
    }
}

/// A tool that is a guest.
struct Tool {
    name: String,
    module: ModuleHash,
    entry: String,
    grants: Vec<Capability>,
    limits: Limits,
}
