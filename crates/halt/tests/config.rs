//! Configurations: what is refused, and in which words.

use glasshouse_halt::{Config, ConfigError, Kernel, Setting};

#[test]
fn every_value_out_of_range_is_refused_with_field_value_and_range() {
    for (field, value) in [
        ("coherence_threshold", -0.1),
        ("hard_limit", 5.0),
        ("hard_limit", f64::NAN),
        ("soft_limit", 1.1),
        ("w_logic", 9.0),
        ("w_fact", -1.0),
        ("window_size", 0.0),
        ("window_size", 1e8),
        ("window_size", 4_294_967_295.0),
        ("window_size", 2.5),
        ("window_threshold", -3.0),
        ("trend_window", 0.0),
        ("trend_window", 1.0),
        ("trend_threshold", -1.0),
        ("trend_threshold", 0.0),
        ("trend_threshold", f64::INFINITY),
        ("history_window", 0.0),
        ("deadline_ms", 0.0),
        ("logit_entropy_limit", -1.0),
        ("soft_halt_tokens", -1.0),
        ("hold_back", 1e9),
        ("trace_tokens", f64::NAN),
    ] {
        let mut config = Config::default();
        let error = config.set(field, Setting::Number(value)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("`{field}` is {value}")) && text.contains("must be"), "{text}");
        assert_eq!(config, Config::default());
    }
    for (field, setting) in [
        ("trend", Setting::Text("steepest")),
        ("halt_mode", Setting::Flag(true)),
        ("invalid_input", Setting::Off),
        ("keep_text", Setting::Number(1.0)),
        ("hard_limit", Setting::Text("0.5")),
        ("hard_limit", Setting::Off),
    ] {
        assert!(
            matches!(Config::default().set(field, setting), Err(ConfigError::OutOfRange { .. })),
            "{field}"
        );
    }
    let error = Config::default().set("hard_limitt", Setting::Number(0.5)).unwrap_err().to_string();
    assert!(error.contains("`hard_limitt` is no field") && error.contains("hard_limit, "), "{error}");
}

#[test]
fn a_kernel_is_made_only_of_a_configuration_that_is_right() {
    for config in [
        Config { hard_limit: f64::NAN, ..Config::default() },
        Config { window_size: 0, ..Config::default() },
        Config { trend_window: 1, ..Config::default() },
        Config { trend_threshold: 0.0, ..Config::default() },
        Config { window_size: 1 << 17, ..Config::default() },
        Config { soft_limit: Some(-1.0), ..Config::default() },
        Config { w_logic: 0.7, ..Config::default() },
    ] {
        assert!(matches!(Kernel::new(&config), Err(ConfigError::OutOfRange { .. })), "{config:?}");
    }
    let error = Kernel::new(&Config { w_logic: 0.7, ..Config::default() }).unwrap_err();
    assert_eq!(error.to_string(), "`w_logic + w_fact` is 1.1; it must be 1");
}

#[test]
fn the_schema_is_json_and_describes_every_field() {
    let schema: serde_json::Value = serde_json::from_str(&Config::json_schema()).unwrap();
    let fields = schema["properties"].as_object().unwrap();
    assert_eq!(fields.len(), Config::FIELDS.len());
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(fields["window_size"]["default"], 10);
    assert_eq!(fields["hard_limit"]["maximum"], 1);
    assert_eq!(fields["trend"]["enum"], serde_json::json!(["endpoint", "least_squares"]));
}

#[cfg(feature = "serde")]
#[test]
fn a_configuration_is_data_with_defaults_and_without_unknown_fields() {
    use glasshouse_halt::Trend;
    let config: Config = serde_json::from_str(r#"{"hard_limit": 0.3, "trend": "least_squares"}"#).unwrap();
    let expected = Config { hard_limit: 0.3, trend: Trend::LeastSquares, ..Config::default() };
    assert_eq!(config, expected);
    let text = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), expected);
    // All keys of the reference, as its own tools write them.
    let reference = r#"{"coherence_threshold":0.6,"hard_limit":0.5,"soft_limit":0.7,"w_logic":0.6,"w_fact":0.4,
        "window_size":10,"window_threshold":0.55,"trend_window":5,"trend_threshold":0.15,"history_window":5,
        "deadline_ms":50,"logit_entropy_limit":1.2}"#;
    let config: Config = serde_json::from_str(reference).unwrap();
    assert_eq!(config, Config { soft_limit: Some(0.7), ..Config::default() });
    for (text, part) in [
        (r#"{"window_size": 0}"#, "`window_size` is 0; it must be a whole number from 1 to 65536"),
        (r#"{"window_size": "10"}"#, "`window_size` is \"10\""),
        (r#"{"limit": 0.5}"#, "`limit` is no field"),
        (r#"{"w_logic": 0.5}"#, "`w_logic + w_fact` is 0.9"),
        (r#"[0.5]"#, "the configuration of a halt kernel"),
    ] {
        let error = serde_json::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
