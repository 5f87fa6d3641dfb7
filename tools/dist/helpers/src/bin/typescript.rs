// SPDX-License-Identifier: Apache-2.0
//! Compiles modules of TypeScript. Usage: `typescript FOLDER FILE.ts...`: writes `FILE.js` and `FILE.d.ts` of each into
//! the folder.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use code_mode_dist_helpers::typescript::compile;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("usage: typescript FOLDER FILE.ts...")?;
    fs::create_dir_all(&folder)?;
    for file in arguments {
        let stem = Path::new(&file)
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or("a file needs a name")?;
        let compiled = compile(&file, &fs::read_to_string(&file)?)?;
        let target = |ending: &str| Path::new(&folder).join(format!("{stem}.{ending}"));
        fs::write(target("js"), compiled.javascript)?;
        fs::write(target("d.ts"), compiled.declarations)?;
    }
    Ok(())
}
