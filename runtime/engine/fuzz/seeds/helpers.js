const all = await Promise.all([tools.echo({ a: [1] }), tools.echo(null)]);
for (const one of all) text(one);
text({ a: 1, b: ['ü', null] }); image('data:image/png;base64,iVBORw0KGgo=', 'low');
audio('data:audio/wav;base64,UklGRg=='); generatedImage({ result: 'iVBORw0KGgo=' });
content({ content: [{ type: 'text', text: 'x' }], isError: false });
store('k', [1, 2n]); text(load('k')); notify('half way'); yield_control();
