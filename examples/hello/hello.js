// Calls a tool that is itself a script, so it needs nothing but `code_mode` in PATH.
//
//   code_mode run examples/hello/hello.js world --tools examples/hello/tools.json

const names = args.length > 0 ? args : ['world'];
const loud = await Promise.all(names.map((name) => tools.shout({ words: `hello ${name}` })));
text(loud.join('\n'));
