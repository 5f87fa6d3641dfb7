// SPDX-License-Identifier: Apache-2.0
//! Writes what SPDX knows about licence expressions. Usage: `licence_texts EXPRESSIONS OUTPUT`: both are JSON, a list of
//! expressions and [what they come to](code_mode_dist_helpers::licences::licences).

use std::error::Error;
use std::{env, fs};

use code_mode_dist_helpers::licences::licences;

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = env::args().skip(1).collect();
    let [input, output] = paths.as_slice() else {
        return Err("usage: licence_texts EXPRESSIONS OUTPUT".into());
    };
    let expressions: Vec<String> = serde_json::from_str(&fs::read_to_string(input)?)?;
    let all = licences(&expressions)?;
    fs::write(output, serde_json::to_vec_pretty(&all)?)?;
    Ok(())
}
