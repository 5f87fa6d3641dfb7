const results = await as_settled([tools.echo(1), tools.fails(2), 3]);
for await (const one of stream_settled([tools.echo(1), tools.fails()])) text(one);
const timer = setTimeout(() => text('late'), 1); clearTimeout(timer);
try { await tools.fails({}) } catch (error) { text(`${error.message} ${error.stack}`) }
text(ALL_TOOLS.map((tool) => `${tool.name}: ${tool.description}`).join()); exit();
