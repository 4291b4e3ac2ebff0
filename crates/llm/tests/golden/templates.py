"""Writes `templates.json`: conversations rendered by Jinja2, set up as `transformers` sets it up for chat templates.

    pip install -r requirements.txt
    python templates.py

The templates use the constructs that published models' templates use, in their manner.
"""

import datetime
import json
import pathlib

from jinja2.ext import loopcontrols
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


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
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
    result = {"templates": TEMPLATES, "tools": TOOLS, "cases": cases}
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}: {path.stat().st_size} bytes")


main()
