//! Diagnostics on standard error. Standard output belongs to the frames.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::LogFormat;

/// Sends `tracing` events to standard error, filtered by `RUST_LOG` (default: warnings).
///
/// A span is told when it closes, with the time in which it was at work and the time in which it
/// waited. `RUST_LOG=code_mode::timing=debug` thus shows where the time of each cell goes; spans that
/// are not asked for cost nothing.
///
/// A filter that cannot be understood is reported there and replaced by the default. Only the first
/// call in a process has an effect.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env();
    let (filter, error) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "diagnostics were started before");
    }
    if let Some(error) = error {
        tracing::warn!(%error, "RUST_LOG cannot be understood; logging warnings");
    }
}
