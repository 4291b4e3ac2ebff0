//! What expressions are worth, what is wrong with those that are worth nothing, and properties of all of them.

use calculate::{CalculateError, TOOLS, calculate, evaluate, format};
use glasshouse_guest::{protocol::ToolDescription, testing};
use proptest::prelude::*;
use serde_json::json;

fn written(expression: &str) -> String {
    match evaluate(expression) {
        Ok(value) => format(value),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn values() {
    for (expression, value) in [
        ("17 * 23", "391"),
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("7 - 2 - 1", "4"),
        ("100/7/2", "7.142857142857143"),
        ("2^3^2", "512"),
        ("-2^2", "-4"),
        ("(-2)^2", "4"),
        ("2^-1", "0.5"),
        ("2**10", "1024"),
        ("--3", "3"),
        ("+-+3", "-3"),
        ("2*-3", "-6"),
        ("17 % 5", "2"),
        ("-7 % 3", "-1"),
        ("7.5 % 2", "1.5"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("1/3", "0.3333333333333333"),
        ("1e3", "1000"),
        ("1.5E-3", "0.0015"),
        ("2.5e+2", "250"),
        (".5 + 5.", "5.5"),
        ("sqrt(16)", "4"),
        ("sqrt(2)", "1.4142135623730951"),
        ("sin(0)", "0"),
        ("sin(pi/2)", "1"),
        ("cos(pi)", "-1"),
        ("tan(pi/4)", "0.9999999999999999"),
        ("ln(e)", "1"),
        ("log10(1000)", "3"),
        ("exp(0)", "1"),
        ("exp(2)", "7.38905609893065"),
        ("abs(-4.5)", "4.5"),
        ("floor(-2.5)", "-3"),
        ("ceil(2.1)", "3"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(3.14159, 2)", "3.14"),
        ("round(2/3, 4)", "0.6667"),
        ("min(3)", "3"),
        ("min(3, 1, 2)", "1"),
        ("max(3, 1, 2 + 7)", "9"),
        ("max(min(1,2), -1) * 2", "2"),
        ("2 * pi", "6.283185307179586"),
        ("PI", "3.141592653589793"),
        ("π", "3.141592653589793"),
        ("e", "2.718281828459045"),
        ("SQRT(9)", "3"),
        ("6 × 7", "42"),
        ("6 · 7", "42"),
        ("84 ÷ 2", "42"),
        ("50 − 8", "42"),
        ("  \t12\n", "12"),
        ("-0", "0"),
        ("0 * -1", "0"),
        ("10^20", "100000000000000000000"),
        ("10^21", "1e21"),
        ("-1.5 * 10^300", "-1.5e300"),
        ("1/4000000", "2.5e-7"),
        ("0.000001", "0.000001"),
        ("123456789 * 987654321", "121932631112635260"),
        ("15 / 100 * 80", "12"),
    ] {
        assert_eq!(written(expression), value, "{expression}");
    }
}

#[test]
fn errors_are_errors() {
    for (expression, error) in [
        ("", "the expression is empty"),
        ("  ", "the expression is empty"),
        ("1/0", "division by zero"),
        ("1/(2-2)", "division by zero"),
        ("5 % 0", "division by zero"),
        ("0^-1", "division by zero"),
        ("0/0", "division by zero"),
        ("sqrt(-1)", "sqrt is not defined for -1"),
        ("ln(0)", "ln is not defined for 0"),
        ("log10(-2)", "log10 is not defined for -2"),
        ("(-8)^(1/3)", "-8 ^ 0.3333333333333333 is not a real number"),
        ("round(1, 0.5)", "round is not defined for 0.5"),
        ("10^400", "the result is too large"),
        ("1e999", "the result is too large"),
        ("exp(1000)", "the result is too large"),
        ("1e308 * 10", "the result is too large"),
        ("1e308 + 1e308", "the result is too large"),
        ("2 +", "expected a number, a function or `(` at the end of the expression"),
        ("(2", "expected `)` at the end of the expression"),
        ("2)", "expected an operator at position 2, found `)`"),
        ("2 3", "expected an operator at position 3, found `3`"),
        ("2 (3)", "expected an operator at position 3, found `(`"),
        ("2pi", "expected an operator at position 2, found `pi`"),
        ("*2", "expected a number, a function or `(` at position 1, found `*`"),
        ("()", "expected a number, a function or `(` at position 2, found `)`"),
        ("1,2", "expected an operator at position 2, found `,`"),
        ("sqrt 4", "expected `(` after the function's name at position 6, found `4`"),
        ("max(1 2)", "expected `,` or `)` at position 7, found `2`"),
        ("max()", "max takes at least one argument, not 0"),
        ("sin(1, 2)", "sin takes one argument, not 2"),
        ("round(1, 2, 3)", "round takes one or two arguments, not 3"),
        ("2 $ 3", "unexpected character `$` at position 3"),
        ("6 ×× ?", "unexpected character `?` at position 6"),
        (".", "unexpected character `.` at position 1"),
        ("1.2.3", "expected an operator at position 4, found `.3`"),
        ("2e", "expected an operator at position 2, found `e`"),
    ] {
        assert_eq!(written(expression), format!("error: {error}"), "{expression}");
    }
    assert!(written("log(2)").starts_with("error: unknown name `log` at position 1; known are sqrt"));
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(evaluate(&nested(100)), Ok(1.0));
    assert_eq!(evaluate(&nested(101)), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&format!("{}1", "-".repeat(101))), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&format!("1{}", "^1".repeat(101))), Err(CalculateError::TooDeep));
    assert_eq!(evaluate(&format!("1{}", "+1".repeat(2000))), Ok(2001.0));
    assert_eq!(evaluate(&"1".repeat(4097)), Err(CalculateError::TooLong));
}

#[test]
fn the_tool_answers_with_the_text_and_describes_itself() {
    let run = |expression: &str| {
        testing::call(calculate, &json!({ "expression": expression }), |request| panic!("{request:?}"))
    };
    assert_eq!(run("17 * 23"), Ok(json!("391")));
    let error = run("1/0").unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("no_result", "division by zero"));
    assert_eq!(run("1 +").unwrap_err().code, "invalid_expression");
    let tools: Vec<ToolDescription> = serde_json::from_str(TOOLS).unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!((tools[0].name.as_str(), tools[0].entry.as_str()), ("calculate", "calculate"));
}

/// An expression as text, and its value by Rust's own arithmetic.
fn expressions() -> impl Strategy<Value = (String, f64)> {
    let leaf = prop_oneof![
        (0u32..1000).prop_map(|n| (n.to_string(), f64::from(n))),
        (0.0..1e6f64).prop_map(|x| (format!("{x}"), x)),
        (1e-9..1e9f64).prop_map(|x| (format!("{x:e}"), x)),
    ];
    leaf.prop_recursive(6, 64, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone(), 0..5usize).prop_map(|((a, x), (b, y), operator)| {
                let (sign, value) = match operator {
                    0 => ("+", x + y),
                    1 => ("-", x - y),
                    2 => (" * ", x * y),
                    3 => (" / ", x / y),
                    _ => ("%", x % y),
                };
                (format!("({a}{sign}{b})"), value)
            }),
            inner.clone().prop_map(|(a, x)| (format!("-({a})"), -x)),
            inner.clone().prop_map(|(a, x)| (format!("floor({a})"), x.floor())),
            inner.clone().prop_map(|(a, x)| (format!("sqrt(abs({a}))"), x.abs().sqrt())),
            (inner.clone(), inner).prop_map(|((a, x), (b, y))| (format!("max({a}, {b})"), x.max(y))),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,60}") {
        let _ = evaluate(&text);
    }

    #[test]
    fn no_plausible_text_panics(text in "[0-9.eE+*/%^(), a-z-]{0,60}") {
        if let Ok(value) = evaluate(&text) {
            prop_assert!(value.is_finite());
        }
    }

    #[test]
    fn arithmetic_is_that_of_rust((text, expected) in expressions()) {
        match evaluate(&text) {
            Ok(value) => prop_assert_eq!(value, expected, "{}", text),
            Err(CalculateError::DivisionByZero | CalculateError::Overflow) => {}
            Err(error) => prop_assert!(false, "{}: {}", text, error),
        }
    }

    #[test]
    fn what_is_written_reads_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        prop_assert_eq!(evaluate(&format(value)), Ok(value));
    }
}
