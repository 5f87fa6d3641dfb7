// The helpers `as_settled` and `stream_settled`, compiled when a script first uses one.
//
// Nothing here goes through a global, a prototype or a method: a script may have replaced them.
// What is left is syntax. Where a promise is made by hand, `await` of an object with a `then` of
// its own stands in for it.
(function () {
  "use strict";

  // Puts a settled promise into the line and wakes whoever waits for one.
  function put(line, result) {
    line.open -= 1;
    if (line.closed) return;
    const link = { __proto__: null, result, next: undefined };
    if (line.first === undefined) line.first = link;
    else line.last.next = link;
    line.last = link;
    const wake = line.wake;
    if (wake !== undefined) {
      line.wake = undefined;
      wake();
    }
  }

  async function watch(line, index, promise) {
    let value;
    try {
      value = await promise;
    } catch (reason) {
      put(line, { index, status: "rejected", reason });
      return;
    }
    put(line, { index, status: "fulfilled", value });
  }

  // Watches all promises from now on. `pairs` is a Map's keys and values, one after the other.
  function lineOf(promises, pairs) {
    const line = {
      __proto__: null, first: undefined, last: undefined, wake: undefined, open: 0, closed: false,
    };
    if (pairs !== undefined) {
      for (let at = 0; at < pairs.length; at += 2) {
        line.open += 1;
        watch(line, pairs[at], pairs[at + 1]);
      }
      return line;
    }
    let index = 0;
    for (const promise of promises) {
      line.open += 1;
      watch(line, index, promise);
      index += 1;
    }
    return line;
  }

  // The next link; undefined once all have come.
  async function take(line) {
    while (line.first === undefined) {
      if (line.open === 0) return undefined;
      await {
        __proto__: null,
        then(wake) {
          if (line.first === undefined && line.open > 0) line.wake = wake;
          else wake();
        },
      };
    }
    const link = line.first;
    line.first = link.next;
    return link;
  }

  async function* each(line) {
    try {
      for (let link; (link = await take(line)) !== undefined; ) yield link.result;
    } finally {
      line.closed = true;
      line.first = undefined;
    }
  }

  async function stream(line, emit) {
    try {
      for (let link; (link = await take(line)) !== undefined; ) await emit(link.result);
    } finally {
      line.closed = true;
      line.first = undefined;
    }
  }

  return (promises, pairs, emit) => {
    const line = lineOf(promises, pairs);
    return emit === undefined ? each(line) : stream(line, emit);
  };
})()
