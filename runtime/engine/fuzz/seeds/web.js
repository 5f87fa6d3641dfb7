const url = new URL('../b?x=1#y', 'https://a.example/c/'); url.searchParams.append('z', 'ä'); text(url.href);
text(new TextDecoder().decode(new TextEncoder().encode('ä')) + atob(btoa('a')) + crypto.randomUUID());
text(structuredClone({ a: [1, new Date(0), new Map([[1, new Set([2])]])] })); console.log('%s', 1, { a: 1 });
const stop = new AbortController(); const call = tools.echo({}, { signal: stop.signal }); stop.abort(); await call;
