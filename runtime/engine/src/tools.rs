// SPDX-License-Identifier: Apache-2.0
//! `tools` and `ALL_TOOLS`: made when a script looks, so that their number costs nothing.

use std::rc::Rc;

use code_mode_api::LimitName;

use crate::callback::{Thrown, guarded, string};
use crate::script_state::{PendingCall, ScriptState};
use crate::timing;
use crate::web;
use crate::world::{StopCause, ToolAnswer, ToolCall};
use crate::{integers, json};

/// The `tools` object: its properties are looked up in the cell's table when they are first used.
pub(crate) fn make_tools_object<'s>(
    scope: &mut v8::PinScope<'s, '_>,
) -> Option<v8::Local<'s, v8::Object>> {
    let template = v8::ObjectTemplate::new(scope);
    template.set_named_property_handler(
        v8::NamedPropertyHandlerConfiguration::new()
            .getter(get_tool)
            .query(query_tool)
            .enumerator(enumerate_tools)
            // What the object has goes first, so a tool that a script has looked at before is an
            // ordinary property.
            .flags(
                v8::PropertyHandlerFlags::NON_MASKING
                    | v8::PropertyHandlerFlags::ONLY_INTERCEPT_STRINGS,
            ),
    );
    // A tool may be called `toString` or `constructor`, so nothing is inherited.
    let tools = template.new_instance(scope)?;
    let null = v8::null(scope);
    tools.set_prototype(scope, null.into())?;
    Some(tools)
}

fn get_tool<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: v8::Local<'s, v8::Name>,
    args: v8::PropertyCallbackArguments<'s>,
    mut result: v8::ReturnValue<'_, v8::Value>,
) -> v8::Intercepted {
    let mut intercepted = v8::Intercepted::kNo;
    guarded(scope, |scope, state| {
        let Some(function) = function_of(scope, state, name)? else {
            return Ok(());
        };
        args.holder()
            .create_data_property(scope, name, function.into())
            .ok_or(Thrown::Pending)?;
        result.set(function.into());
        intercepted = v8::Intercepted::kYes;
        Ok(())
    });
    intercepted
}

fn query_tool<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: v8::Local<'s, v8::Name>,
    _args: v8::PropertyCallbackArguments<'s>,
    mut result: v8::ReturnValue<'_, v8::Integer>,
) -> v8::Intercepted {
    let mut intercepted = v8::Intercepted::kNo;
    guarded(scope, |scope, state| {
        if is_callable(scope, state, name) {
            result.set_int32(v8::PropertyAttribute::NONE.as_u32() as i32);
            intercepted = v8::Intercepted::kYes;
        }
        Ok(())
    });
    intercepted
}

fn enumerate_tools<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _args: v8::PropertyCallbackArguments<'s>,
    mut result: v8::ReturnValue<'_, v8::Array>,
) {
    guarded(scope, |scope, state| {
        let mut names: Vec<v8::Local<v8::Value>> = Vec::with_capacity(state.tools.names().len());
        for name in callable_names(state) {
            names.push(string(scope, name)?.into());
        }
        result.set(v8::Array::new_with_elements(scope, &names));
        Ok(())
    });
}

/// Every name that can be looked up: those of the tools, and those that several would have.
pub(crate) fn callable_names(state: &ScriptState) -> impl Iterator<Item = &str> {
    let names = state.tools.names().iter().map(String::as_str);
    names.chain(state.tools.shared_names())
}

fn is_callable(
    scope: &v8::PinScope<'_, '_>,
    state: &ScriptState,
    name: v8::Local<'_, v8::Name>,
) -> bool {
    let Ok(name) = v8::Local::<v8::String>::try_from(name) else {
        return false;
    };
    let name = name.to_rust_string_lossy(scope);
    state.tools.find(&name).is_some() || state.tools.shared(&name).is_some()
}

fn function_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &Rc<ScriptState>,
    name: v8::Local<'s, v8::Name>,
) -> Result<Option<v8::Local<'s, v8::Function>>, Thrown> {
    let Ok(name) = v8::Local::<v8::String>::try_from(name) else {
        return Ok(None);
    };
    let name = name.to_rust_string_lossy(scope);
    named_function(scope, state, &name)
}

/// The function that a script finds under a name.
pub(crate) fn named_function<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &Rc<ScriptState>,
    name: &str,
) -> Result<Option<v8::Local<'s, v8::Function>>, Thrown> {
    // The name that several tools would have goes before a tool that has it by itself: a script
    // that means another one must not reach that unawares.
    if state.tools.shared(name).is_some() {
        let data = string(scope, name)?;
        let function = v8::Function::builder(call_shared)
            .data(data.into())
            .constructor_behavior(v8::ConstructorBehavior::Throw)
            .build(scope);
        return function.map(Some).ok_or(Thrown::Pending);
    }
    let tool = state.tools.find(name);
    tool.map(|tool| tool_function(scope, state, tool))
        .transpose()
}

/// What a name does that stands for several tools.
fn call_shared<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let name = args.data().to_rust_string_lossy(scope);
        let message = state.tools.shared(&name).unwrap_or(name);
        Err(Thrown::Type(message))
    });
}

/// The function that calls a tool; made once per cell and tool.
pub(crate) fn tool_function<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &Rc<ScriptState>,
    tool: usize,
) -> Result<v8::Local<'s, v8::Function>, Thrown> {
    if let Some(function) = state.tool_functions.borrow().get(&tool) {
        return Ok(v8::Local::new(scope, function));
    }
    // The number of tools is bounded far below 2^32.
    let index = v8::Integer::new_from_unsigned(scope, u32::try_from(tool).unwrap_or(u32::MAX));
    let function = v8::Function::builder(call_tool)
        .data(index.into())
        .length(1)
        .constructor_behavior(v8::ConstructorBehavior::Throw)
        .build(scope)
        .ok_or(Thrown::Pending)?;
    if let Some(name) = state.tools.names().get(tool) {
        let name = string(scope, name)?;
        function.set_name(name);
    }
    state
        .tool_functions
        .borrow_mut()
        .insert(tool, v8::Global::new(scope, function));
    Ok(function)
}

fn call_tool<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let index = args.data().uint32_value(scope).ok_or(Thrown::Pending)? as usize;
        let Some(tool) = state.tools.tool(index) else {
            return Err(Thrown::Type(
                "this tool does not belong to this cell".to_owned(),
            ));
        };
        let limits = state.world.limits();
        let limit = |limit, maximum| Err(Thrown::Stop(StopCause::Limit(limit, maximum)));
        let maximum = usize::try_from(limits.value_bytes).unwrap_or(usize::MAX);
        let input = match json::to_input(scope, args.get(0), maximum) {
            // As with a result that is too long, the call fails and the script decides what then.
            Err(Thrown::Stop(StopCause::Limit(LimitName::ValueBytes, _))) => {
                let promise = rejected(scope, state, index, maximum)?;
                result.set(promise.into());
                return Ok(());
            }
            input => input?,
        };
        if state.calls.borrow().len() as u64 >= limits.open_tool_calls {
            return limit(LimitName::OpenToolCalls, limits.open_tool_calls);
        }
        let number = state.total_tool_calls.get() + 1;
        if number > limits.total_tool_calls {
            return limit(LimitName::TotalToolCalls, limits.total_tool_calls);
        }
        let resolver = v8::PromiseResolver::new(scope).ok_or(Thrown::Pending)?;
        result.set(resolver.get_promise(scope).into());
        let call = state.next_call();
        if let Some(reason) = web::before_call(scope, state, args.get(1), call)? {
            resolver.reject(scope, reason).ok_or(Thrown::Pending)?;
            return Ok(());
        }
        state.total_tool_calls.set(number);
        let pending = PendingCall {
            resolver: v8::Global::new(scope, resolver),
            position: position(scope),
            tool: index,
            _span: timing::tool(&tool.name, number),
        };
        state.calls.borrow_mut().insert(call, pending);
        state.world.call(ToolCall {
            call,
            number,
            tool: index,
            input,
        });
        Ok(())
    });
}

/// The promise of a call that is not made because its input is too long.
fn rejected<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    tool: usize,
    maximum: usize,
) -> Result<v8::Local<'s, v8::Promise>, Thrown> {
    let resolver = v8::PromiseResolver::new(scope).ok_or(Thrown::Pending)?;
    let limit = LimitName::ValueBytes;
    let message = format!("the limit of {maximum} {limit} is reached by the tool's input");
    let position = position(scope);
    let error = tool_error(scope, state, tool, position, &message).ok_or(Thrown::Pending)?;
    resolver.reject(scope, error).ok_or(Thrown::Pending)?;
    Ok(resolver.get_promise(scope))
}

/// Line and column from which the script calls, from 1.
fn position(scope: &mut v8::PinScope<'_, '_>) -> (usize, usize) {
    v8::StackTrace::current_stack_trace(scope, 1)
        .and_then(|stack| stack.get_frame(scope, 0))
        .map_or((0, 0), |frame| {
            (frame.get_line_number(), frame.get_column())
        })
}

/// Settles the promise of a call with its answer.
pub(crate) fn settle(scope: &mut v8::PinScope<'_, '_>, state: &ScriptState, answer: ToolAnswer) {
    let Some(call) = state.calls.borrow_mut().remove(&answer.call) else {
        return;
    };
    let resolver = v8::Local::new(scope, &call.resolver);
    let result = answer
        .result
        .map_err(|error| error.message)
        .and_then(|result| {
            integers::parse(scope, state, &result)
                .ok_or_else(|| "the tool's result could not be read as JSON".to_owned())
        });
    // Settling fails only when the script is being terminated, which the event loop sees.
    match result {
        Ok(value) => {
            let _ = resolver.resolve(scope, value);
        }
        Err(message) => {
            if let Some(error) = tool_error(scope, state, call.tool, call.position, &message) {
                add_data(scope, state, error, &message);
                let _ = resolver.reject(scope, error);
            }
        }
    }
}

/// The Error of a failed call. No script runs when the answer comes, so V8 knows no position; the
/// stack names the place of the call instead.
fn tool_error<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    tool: usize,
    (line, column): (usize, usize),
    message: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    let text = v8::String::new(scope, message)?;
    let error = v8::Exception::error(scope, text);
    let name = state.tools.names().get(tool).map_or("", String::as_str);
    let stack = format!("Error: {message}\n    at tools.{name} (exec_main.mjs:{line}:{column})");
    if line > 0
        && let Ok(object) = v8::Local::<v8::Object>::try_from(error)
    {
        let key = v8::String::new(scope, "stack")?;
        let stack = v8::String::new(scope, &stack)?;
        object.define_own_property(
            scope,
            key.into(),
            stack.into(),
            v8::PropertyAttribute::DONT_ENUM,
        )?;
    }
    Some(error)
}

/// Gives the error of a tool whose text is a JSON object the object as `data`, so that a script can look into it.
fn add_data<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    error: v8::Local<'s, v8::Value>,
    message: &str,
) {
    let Ok(error) = v8::Local::<v8::Object>::try_from(error) else {
        return;
    };
    if !message.starts_with('{') {
        return;
    }
    // Text that only begins like an object is no failure of anything.
    v8::tc_scope!(let caught, scope);
    let Some(data) = integers::parse(caught, state, message) else {
        caught.reset();
        return;
    };
    if let Some(key) = v8::String::new(caught, "data") {
        let attributes = v8::PropertyAttribute::DONT_ENUM;
        let _ = error.define_own_property(caught, key.into(), data, attributes);
    }
}

/// `ALL_TOOLS`: names and descriptions, made when a script first looks.
pub(crate) fn all_tools<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _name: v8::Local<'s, v8::Name>,
    _args: v8::PropertyCallbackArguments<'s>,
    mut result: v8::ReturnValue<'_, v8::Value>,
) {
    guarded(scope, |scope, state| {
        result.set(all_tools_array(scope, state)?.into());
        Ok(())
    });
}

/// A fresh `ALL_TOOLS` array.
pub(crate) fn all_tools_array<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
) -> Result<v8::Local<'s, v8::Array>, Thrown> {
    let name_key = string(scope, "name")?;
    let description_key = string(scope, "description")?;
    let mut tools: Vec<v8::Local<v8::Value>> = Vec::with_capacity(state.tools.names().len());
    let descriptions = state.world.tool_descriptions();
    for (name, description) in state.tools.names().iter().zip(&descriptions) {
        let name = string(scope, name)?;
        let description = string(scope, description)?;
        let object = v8::Object::new(scope);
        object
            .create_data_property(scope, name_key.into(), name.into())
            .ok_or(Thrown::Pending)?;
        object
            .create_data_property(scope, description_key.into(), description.into())
            .ok_or(Thrown::Pending)?;
        tools.push(object.into());
    }
    Ok(v8::Array::new_with_elements(scope, &tools))
}
