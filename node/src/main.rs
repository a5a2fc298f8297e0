//! The program `anode`: all of it is in the library.

fn main() -> std::process::ExitCode {
    anode::cli::main()
}
