"""Writes `templates.json`: conversations rendered by Jinja2, set up as `transformers` sets it up for chat templates.

    pip install -r requirements.txt
    python templates.py

The templates use the constructs that published models' templates use, in their manner.
"""

import datetime
import json
import pathlib

from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TEMPLATES = {
    "chatml": """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "roles on lines": """{%- if messages[0]['role'] == 'system' -%}
    {%- set system_message = messages[0]['content'] -%}
    {%- set messages = messages[1:] -%}
{%- else -%}
    {%- set system_message = 'Be brief.' -%}
{%- endif -%}
{{- bos_token -}}
[{{ system_message | trim }}]
{% for message in messages %}
    {% if message.role == 'user' %}
Human: {{ message.content | trim }}
    {% elif message.role == 'assistant' %}
Robot: {{ message.content | trim }}{{ eos_token }}
    {% else %}
Data: {{ message.content }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}
Robot:
{%- endif %}""",
    "first message": """{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize + ': ' + message['content'] | trim + eos_token %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}""",
    "functions": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nYou may call one or more functions.\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- if message.tool_calls %}
            {{- 'calls' }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}""",
    "dated functions": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message comes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{{- "<|start|>system<|stop|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- 'Respond in the format {"name": function name, "parameters": dictionary of arguments}.' }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '<|stop|>\\n\\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start|>ipython<|stop|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant<|stop|>\\n\\n' }}
{%- endif %}
""",
    "alternating": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    "instructions": """{%- set counted = namespace(users=0) %}
{{- bos_token }}
{%- for message in messages if message.role != 'system' %}
    {%- if message.role == 'user' -%}
        {%- set counted.users = counted.users + 1 -%}
        {{ ' [INST] ' ~ (messages[0].content ~ '\n\n' if loop.first and messages[0].role == 'system' else '') ~ message.content ~ ' [/INST]' }}
    {%- elif message.role == 'assistant' -%}
        {{ ' ' ~ message.content ~ eos_token }}
    {%- endif %}
    {%- if counted.users > 5 %}{% break %}{% endif %}
{%- endfor %}
{{- counted.users }}""",
    "macros and filters": """{%- macro argument(name, schema) -%}
{{ name | upper }}: {{ schema.type | default('any') }}{% if not schema.optional %}!{% endif %}
{%- endmacro -%}
{%- for tool in tools or [] %}
{{ loop.index }}/{{ loop.length }} {{ tool.name | replace('_', ' ') | title }}
{%- for name, schema in tool.parameters.properties.items() %}{{ ', ' if not loop.first }}{{ argument(name, schema) }}{% endfor %}
{%- if tool.parameters.required is defined and tool.parameters.required | length > 0 %} ({{ tool.parameters.required | join(', ') }}){% endif %}
{% endfor %}
{%- for message in messages | rejectattr('role', 'equalto', 'system') | list %}
{{ '%s> %s' | format(message.role, message.content) }}
{%- endfor %}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | first }}
{{ messages[-1]['content'][:3] }}{{ messages[-1].content[::-1] }}
{{ 7 // 2 }} {{ 7 % 2 }} {{ 2 ** 5 }} {{ 'a' in 'cat' }} {{ none is none }} {{ [1, 2] + [3] }} {{ 1.0 }} {{ true and not false }}
{{ "it's \\"quoted\\"" }} {{ messages | length > 1 }} {{ 'x' * 3 }} {{ ['a', 'b'] | tojson }}""",
}

# These are rendered with calls of tools, reasoning and further variables.
CALL_TEMPLATES = {
    "calls in tags": """{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- elif '</think>' in message.content %}
            {%- set reasoning_content = message.content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + message.content.split('</think>')[-1].lstrip('\n') }}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and message.content) or (not loop.first) %}{{- '\n' }}{%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\n<tool_response>\n' }}{{- message.content }}{{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}""",
    "one call a message": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "Today: " + date_string + "\n" }}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\n\n" }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start|>' + message['role'] + '|>\n\n'+ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start|>assistant|>\n\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start|>ipython|>\n\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
    {%- endif %}
{%- endfor %}""",
    "calls in a list": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif (message.tool_calls is defined and message.tool_calls is not none) %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool_results" or message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}
            {%- set content = message.content.content %}
        {%- else %}
            {%- set content = message.content %}
        {%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}""",
    "types by a recursive macro": """{%- macro type_of(schema, depth=0, required=true) -%}
    {%- if schema.enum is defined -%}
        {{- schema.enum | map('tojson') | join(' | ') -}}
    {%- elif schema.type == 'object' and schema.properties is mapping -%}
        {{- '{' -}}
        {%- for name, inner in schema.properties | items -%}
            {{- '\n' + '  ' * (depth + 1) + name + ('' if name in schema.get('required', []) else '?') + ': ' + type_of(inner, depth + 1) -}}
        {%- endfor -%}
        {{- '}' -}}
    {%- elif schema.type is defined -%}
        {{- schema.type | upper -}}
    {%- else -%}
        any
    {%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] -%}
{{ loop.index }}. {{ tool.function.name }}({{ type_of(tool.function.parameters, required=false) }})
{% endfor -%}
{%- for message in messages -%}
{%- if message.role == 'system' %}{% continue %}{% endif -%}
{% generation %}{{ loop.previtem.role if loop.previtem is defined else '-' }}>{{ message.role }}{% endgeneration %}[{{ message.name | default('nobody') }}|{{ message.get('tool_call_id', 'none') }}|{{ message.keys() | list | length }}]
{% if message.tool_calls is defined -%}
{% for call in message.tool_calls -%}
{% for key, value in call.function.arguments.items() | sort -%}
{{ key }}={{ value if value is string else value | tojson(ensure_ascii=true) }}{{ ';' if loop.nextitem is defined }}
{%- endfor %}
{{ call.function.arguments | dictsort | length }} {{ call['function']['name'].replace('_', ' ').title() }} {{ call.id[::2] }}
{% endfor %}
{%- endif %}
{%- endfor -%}
{%- set joined -%}
{{ messages | map(attribute='role') | unique | join(', ') }}
{%- endset -%}
{{ joined | upper }} {{ messages | rejectattr('role', 'in', ['tool', 'assistant']) | map(attribute='content') | map('trim') | list | last }}
{{ (messages | selectattr('tool_calls', 'defined') | list) | length }} {{ range(3) | list }} {{ [3, 1, 2] | sort | first }} {{ 'a-b'.split('-', 1) | last }}
{{ '%02d:%s' | format(7, 'x') }} {{ 'x' ~ 1 ~ true }} {{ (1, 2)[0] }} {{ 10 // 3 }} {{ -7 % 3 }} {{ 'ab' in 'cabs' }} {{ none is none and 1 is number }}
{{ 'Grüße'.lower().count('ü') }} {{ '  x '.rstrip() }}| {{ 'abc'.endswith(('bc', 'x')) }} {{ 'a,b'.partition(',')[0] if false else 'a b c'.split()[1:] | join }}
{{ tone | default('plain', true) }} {{ extra.levels[1].name if extra is defined else 'without' }}""",
}

TOOLS = [
    {
        "name": "calculate",
        "description": "Computes <b>\"x\" & y's</b>, é.",
        "parameters": {
            "type": "object",
            "properties": {"expression": {"type": "string"}, "a": {"enum": [1, 2.5, True, None]}},
            "required": ["expression"],
        },
    },
    {"name": "get_time", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
]
CONVERSATIONS = [
    [("user", "What is 17 * 23?")],
    [("system", " You help.\n"), ("user", "Grüße, 世界!")],
    [("user", " one "), ("assistant", "<think>\nhm\n</think>\n\nCall: x {}"), ("user", "two\n")],
    [("user", "one"), ("assistant", "two"), ("tool", "391"), ("assistant", "three"), ("user", "four")],
    [("system", "s"), ("user", "u"), ("assistant", "a"), ("tool", "[1]"), ("tool", "{}")],
]

CALLS = [
    {"id": "abcDEF123", "name": "calculate", "arguments": {"expression": "17 * 23", "é": [1, 2.5, None, True, "ß"]}},
    {"id": "000000001", "name": "get_time", "arguments": {}},
]
CALL_CONVERSATIONS = [
    ([{"role": "user", "content": "hi"}], {}),
    ([{"role": "user", "content": "hi"}], {"enable_thinking": False, "tone": "", "date_string": "1 May 2025"}),
    (
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is 17 * 23?", "name": "ada"},
            {"role": "assistant", "content": "", "reasoning": "\nI calculate.\n", "tool_calls": CALLS[:1]},
            {"role": "tool", "content": "391", "tool_call_id": "abcDEF123", "name": "calculate"},
            {"role": "assistant", "content": "391."},
            {"role": "user", "content": "Thanks "},
        ],
        {"extra": {"levels": [{"name": "one"}, {"name": "two"}]}, "tone": "dry"},
    ),
    (
        [
            {"role": "user", "content": "Both!"},
            {"role": "assistant", "content": "<think>\nhm\n</think>\n\nI look.", "tool_calls": CALLS},
            {"role": "tool", "content": "391", "tool_call_id": "abcDEF123"},
            {"role": "tool", "content": "noon", "tool_call_id": "000000001"},
        ],
        {"enable_thinking": True},
    ),
    ([{"role": "user", "content": "u"}, {"role": "user", "content": "again"}], {}),
]


class Generation(Extension):
    """`transformers`' tag around what the model is trained on: it renders what is inside."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.Scope(body, lineno=line)


def as_transformers(message):
    """A message of the protocol in the form that `transformers` gives to templates."""
    message = dict(message)
    calls = message.pop("tool_calls", None)
    reasoning = message.pop("reasoning", None)
    if calls:
        functions = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
        message["tool_calls"] = [
            {"type": "function", "id": call["id"], "function": function} for call, function in zip(calls, functions)
        ]
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    return message


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.datetime(2026, 1, 1).strftime(format)
    cases = []
    for name, source in TEMPLATES.items():
        template = environment.from_string(source)
        for conversation in CONVERSATIONS:
            for tools in ([], TOOLS):
                messages = [{"role": role, "content": content} for role, content in conversation]
                if "tool" not in source:
                    for message in messages:
                        if message["role"] == "tool":
                            message.update(role="user", content="Observation: " + message["content"])
                given = [{"type": "function", "function": tool} for tool in tools] if "function" in source else tools
                try:
                    rendered = template.render(
                        messages=messages,
                        tools=given or None,
                        add_generation_prompt=True,
                        bos_token="<s>",
                        eos_token="</s>",
                    )
                except Refused as refused:
                    rendered = None
                    problem = str(refused)
                cases.append(
                    {
                        "template": name,
                        "messages": [{"role": role, "content": content} for role, content in conversation],
                        "tools": bool(tools),
                        **({"refused": problem} if rendered is None else {"rendered": rendered}),
                    }
                )
    for name, source in CALL_TEMPLATES.items():
        template = environment.from_string(source)
        for messages, variables in CALL_CONVERSATIONS:
            for tools in ([], TOOLS):
                try:
                    outcome = {
                        "rendered": template.render(
                            messages=[as_transformers(message) for message in messages],
                            tools=[{"type": "function", "function": tool} for tool in tools] or None,
                            add_generation_prompt=True,
                            bos_token="<s>",
                            eos_token="</s>",
                            **variables,
                        )
                    }
                except Refused as refused:
                    outcome = {"refused": str(refused)}
                case = {"template": name, "messages": messages, "tools": bool(tools), "variables": variables}
                cases.append({**case, **outcome})
    result = {"templates": TEMPLATES | CALL_TEMPLATES, "tools": TOOLS, "cases": cases}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


main()
