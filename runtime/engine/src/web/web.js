// The globals that the web has and the contract has not. Run once in a context, before any script;
// `native` is what only Rust can do. What a script may replace later is taken here, where that is cheap.
(native) => {
  'use strict';
  const { Array, ArrayBuffer, BigInt, Boolean, DataView, Date, Error, JSON, Map, Number, Object, Promise,
    RangeError, Reflect, RegExp, Set, String, Symbol, TypeError, Uint8Array, WeakMap, WeakRef, WeakSet } = globalThis;
  const errors = {
    EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, __proto__: null,
  };
  const { captureStackTrace } = Error;
  const promised = Promise.resolve();
  const then = Promise.prototype.then;
  const { call } = Function.prototype;
  const method = (of, name) => call.bind(of[name]);
  const getter = (of, name) => call.bind(Object.getOwnPropertyDescriptor(of, name).get);
  const wellFormed = method(String.prototype, 'toWellFormed');
  const charCode = method(String.prototype, 'charCodeAt');
  const dateNow = Date.now;
  // A string as the web's USVString: without lone surrogates.
  const usv = (value) => wellFormed(`${value}`);
  // An error that nobody can catch where it happens: the cell tells it at its end.
  const report = (error) => { Promise.reject(error); };
  const needs = (args, count, what) => {
    if (args.length < count) throw new TypeError(`${what}: ${count} argument${count > 1 ? 's' : ''} required`);
  };

  // Objects of the classes below, which cannot be cloned.
  const platform = new WeakSet();
  const tagged = (interfaceObject) => {
    const { prototype, name } = interfaceObject;
    for (const key of Reflect.ownKeys(prototype)) {
      if (key === 'constructor' || typeof key === 'symbol') continue;
      Object.defineProperty(prototype, key, { enumerable: true });
    }
    for (const key of Object.getOwnPropertyNames(interfaceObject)) {
      if (['length', 'name', 'prototype'].includes(key)) continue;
      Object.defineProperty(interfaceObject, key, { enumerable: true });
    }
    Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    Object.defineProperty(globalThis, name, {
      value: interfaceObject, writable: true, configurable: true,
    });
  };
  const operation = (name, value) => Object.defineProperty(globalThis, name, {
    value, writable: true, enumerable: true, configurable: true,
  });

  const exceptions = new WeakMap();
  const exceptionCodes = {
    IndexSizeError: 1, HierarchyRequestError: 3, WrongDocumentError: 4, InvalidCharacterError: 5,
    NoModificationAllowedError: 7, NotFoundError: 8, NotSupportedError: 9, InUseAttributeError: 10,
    InvalidStateError: 11, SyntaxError: 12, InvalidModificationError: 13, NamespaceError: 14,
    InvalidAccessError: 15, TypeMismatchError: 17, SecurityError: 18, NetworkError: 19, AbortError: 20,
    URLMismatchError: 21, QuotaExceededError: 22, TimeoutError: 23, InvalidNodeTypeError: 24,
    DataCloneError: 25, __proto__: null,
  };
  class DOMException {
    constructor(message = '', options = 'Error') {
      const error = Reflect.construct(Error, [`${message}`], new.target);
      const isObject = options !== null && typeof options === 'object';
      exceptions.set(error, `${isObject ? options.name ?? 'Error' : options}`);
      if (isObject && 'cause' in options) {
        Object.defineProperty(error, 'cause', {
          value: options.cause, writable: true, configurable: true,
        });
      }
      captureStackTrace(error, DOMException);
      return error;
    }
    get name() { return exceptions.get(this) ?? 'Error'; }
    get code() { return exceptionCodes[exceptions.get(this)] ?? 0; }
  }
  Object.setPrototypeOf(DOMException.prototype, Error.prototype);
  tagged(DOMException);

  class Event {
    #type; #bubbles; #cancelable; #composed; #canceled = false; #stopped = false; #target = null;
    #current = null; #time = now();
    static deliver; static isStopped;
    static {
      Event.deliver = (event, target, current) => { event.#target = target; event.#current = current; };
      Event.isStopped = (event) => event.#stopped;
    }
    constructor(type, init = {}) {
      needs(arguments, 1, 'Event');
      platform.add(this);
      this.#type = usv(type);
      this.#bubbles = !!init?.bubbles;
      this.#cancelable = !!init?.cancelable;
      this.#composed = !!init?.composed;
    }
    get type() { return this.#type; }
    get target() { return this.#target; }
    get currentTarget() { return this.#current; }
    get bubbles() { return this.#bubbles; }
    get cancelable() { return this.#cancelable; }
    get composed() { return this.#composed; }
    get defaultPrevented() { return this.#canceled; }
    get timeStamp() { return this.#time; }
    get isTrusted() { return false; }
    preventDefault() { if (this.#cancelable) this.#canceled = true; }
    stopPropagation() {}
    stopImmediatePropagation() { this.#stopped = true; }
    composedPath() { return this.#current ? [this.#current] : []; }
  }
  const { deliver, isStopped } = Event;
  delete Event.deliver;
  delete Event.isStopped;
  tagged(Event);

  class EventTarget {
    #listeners = [];
    constructor() { platform.add(this); }
    addEventListener(type, callback, options) {
      needs(arguments, 2, 'addEventListener');
      if (callback === null || callback === undefined) return;
      if (typeof callback !== 'function' && typeof callback !== 'object') {
        throw new TypeError('addEventListener: the listener is neither a function nor an object');
      }
      type = usv(type);
      const capture = typeof options === 'object' ? !!options?.capture : !!options;
      const once = typeof options === 'object' && !!options?.once;
      const signal = typeof options === 'object' ? options?.signal : undefined;
      if (signal?.aborted) return;
      const same = (one) => one.type === type && one.callback === callback && one.capture === capture;
      if (this.#listeners.some(same)) return;
      this.#listeners.push({ type, callback, capture, once, removed: false });
      if (signal !== undefined) {
        onAbort(signal, () => EventTarget.prototype.removeEventListener.call(this, type, callback, capture));
      }
    }
    removeEventListener(type, callback, options) {
      needs(arguments, 2, 'removeEventListener');
      type = usv(type);
      const capture = typeof options === 'object' ? !!options?.capture : !!options;
      this.#listeners = this.#listeners.filter((one) => {
        const goes = one.type === type && one.callback === callback && one.capture === capture;
        if (goes) one.removed = true;
        return !goes;
      });
    }
    dispatchEvent(event) {
      needs(arguments, 1, 'dispatchEvent');
      if (!(event instanceof Event)) throw new TypeError('dispatchEvent: the argument is not an Event');
      deliver(event, this, this);
      for (const one of [...this.#listeners]) {
        if (one.removed || one.type !== event.type) continue;
        if (one.once) this.removeEventListener(one.type, one.callback, one.capture);
        try {
          if (typeof one.callback === 'function') Reflect.apply(one.callback, this, [event]);
          else one.callback.handleEvent(event);
        } catch (error) {
          report(error);
        }
        if (isStopped(event)) break;
      }
      deliver(event, this, null);
      return !event.defaultPrevented;
    }
  }
  tagged(EventTarget);

  const inside = Symbol('inside');
  let makeSignal, abortSignal, onAbort;
  class AbortSignal extends EventTarget {
    #aborted = false; #reason; #actions = new Set(); #handler = null;
    static {
      makeSignal = () => new AbortSignal(inside);
      abortSignal = (signal, reason) => {
        if (signal.#aborted) return;
        signal.#aborted = true;
        signal.#reason = reason === undefined
          ? new DOMException('This operation was aborted', 'AbortError') : reason;
        const actions = [...signal.#actions];
        signal.#actions.clear();
        for (const action of actions) action();
        signal.dispatchEvent(new Event('abort'));
      };
      onAbort = (signal, action) => {
        if (signal === null || typeof signal !== 'object' || !(#aborted in signal)) {
          throw new TypeError('the signal is not an AbortSignal');
        }
        if (!signal.#aborted) signal.#actions.add(action);
        return signal.#aborted;
      };
    }
    constructor(key) {
      if (key !== inside) throw new TypeError('Illegal constructor');
      super();
    }
    get aborted() { return this.#aborted; }
    get reason() { return this.#reason; }
    get onabort() { return this.#handler; }
    set onabort(handler) {
      if (this.#handler) this.removeEventListener('abort', this.#handler);
      this.#handler = typeof handler === 'function' ? handler : null;
      if (this.#handler) this.addEventListener('abort', this.#handler);
    }
    throwIfAborted() { if (this.#aborted) throw this.#reason; }
    static abort(reason) {
      const signal = makeSignal();
      abortSignal(signal, reason);
      return signal;
    }
    static timeout(milliseconds) {
      needs(arguments, 1, 'AbortSignal.timeout');
      const signal = makeSignal();
      const expired = () => new DOMException('The operation was aborted due to timeout', 'TimeoutError');
      native.setTimeout(() => abortSignal(signal, expired()), Number(milliseconds));
      return signal;
    }
    static any(signals) {
      needs(arguments, 1, 'AbortSignal.any');
      const all = [...signals];
      const signal = makeSignal();
      for (const one of all) {
        if (onAbort(one, () => abortSignal(signal, one.reason))) {
          abortSignal(signal, one.reason);
          break;
        }
      }
      return signal;
    }
  }
  tagged(AbortSignal);

  class AbortController {
    #signal = makeSignal();
    constructor() { platform.add(this); }
    get signal() { return this.#signal; }
    abort(reason) { abortSignal(this.#signal, reason); }
  }
  tagged(AbortController);

  let linkParams;
  class URLSearchParams {
    #list = []; #changed = null;
    static {
      linkParams = (query, changed) => {
        const params = new URLSearchParams(query);
        params.#changed = changed;
        return [params, (query) => { params.#list = native.formParse(query); }];
      };
    }
    constructor(init = '') {
      platform.add(this);
      if (init !== null && (typeof init === 'object' || typeof init === 'function')) {
        const iterate = init[Symbol.iterator];
        if (iterate !== undefined && iterate !== null) {
          for (const pair of init) {
            const parts = [...pair];
            if (parts.length !== 2) {
              throw new TypeError('URLSearchParams: each pair must be an iterable of two values');
            }
            this.#list.push([usv(parts[0]), usv(parts[1])]);
          }
        } else {
          const seen = new Map();
          for (const key of Reflect.ownKeys(init)) {
            if (!Object.getOwnPropertyDescriptor(init, key)?.enumerable) continue;
            seen.set(usv(key), usv(init[key]));
          }
          this.#list = [...seen];
        }
      } else {
        const query = usv(init);
        this.#list = native.formParse(query[0] === '?' ? query.slice(1) : query);
      }
    }
    #change() { this.#changed?.(native.formSerialize(this.#list)); }
    get size() { return this.#list.length; }
    append(name, value) {
      needs(arguments, 2, 'append');
      this.#list.push([usv(name), usv(value)]);
      this.#change();
    }
    delete(name, value = undefined) {
      needs(arguments, 1, 'delete');
      name = usv(name);
      if (value !== undefined) value = usv(value);
      this.#list = this.#list.filter(([n, v]) => n !== name || (value !== undefined && v !== value));
      this.#change();
    }
    get(name) {
      needs(arguments, 1, 'get');
      name = usv(name);
      return this.#list.find(([n]) => n === name)?.[1] ?? null;
    }
    getAll(name) {
      needs(arguments, 1, 'getAll');
      name = usv(name);
      return this.#list.filter(([n]) => n === name).map(([, v]) => v);
    }
    has(name, value = undefined) {
      needs(arguments, 1, 'has');
      name = usv(name);
      if (value !== undefined) value = usv(value);
      return this.#list.some(([n, v]) => n === name && (value === undefined || v === value));
    }
    set(name, value) {
      needs(arguments, 2, 'set');
      name = usv(name);
      value = usv(value);
      let found = false;
      this.#list = this.#list.filter((pair) => {
        if (pair[0] !== name) return true;
        if (found) return false;
        found = true;
        pair[1] = value;
        return true;
      });
      if (!found) this.#list.push([name, value]);
      this.#change();
    }
    sort() {
      this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      this.#change();
    }
    forEach(callback, thisArgument = undefined) {
      needs(arguments, 1, 'forEach');
      if (typeof callback !== 'function') throw new TypeError('forEach: the callback is not a function');
      for (const [name, value] of this) Reflect.apply(callback, thisArgument, [value, name, this]);
    }
    * entries() { for (let i = 0; i < this.#list.length; i += 1) yield [...this.#list[i]]; }
    * keys() { for (let i = 0; i < this.#list.length; i += 1) yield this.#list[i][0]; }
    * values() { for (let i = 0; i < this.#list.length; i += 1) yield this.#list[i][1]; }
    toString() { return native.formSerialize(this.#list); }
  }
  tagged(URLSearchParams);
  Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, {
    value: URLSearchParams.prototype.entries, writable: true, configurable: true,
  });

  class URL {
    #parts; #params; #setParams;
    constructor(url, base = undefined) {
      needs(arguments, 1, 'URL');
      platform.add(this);
      url = usv(url);
      this.#parts = native.urlParse(url, base === undefined ? undefined : usv(base));
      if (this.#parts === null) throw new TypeError(`Invalid URL: '${url}'`);
    }
    #set(part, value) {
      const parts = native.urlSet(this.#parts.href, part, usv(value));
      if (parts === null) return;
      this.#parts = parts;
      if (part === 'search') this.#setParams?.(this.#query());
    }
    #query() { return this.#parts.search.slice(1); }
    get href() { return this.#parts.href; }
    set href(value) {
      value = usv(value);
      const parts = native.urlParse(value, undefined);
      if (parts === null) throw new TypeError(`Invalid URL: '${value}'`);
      this.#parts = parts;
      this.#setParams?.(this.#query());
    }
    get origin() { return this.#parts.origin; }
    get protocol() { return this.#parts.protocol; }
    set protocol(value) { this.#set('protocol', value); }
    get username() { return this.#parts.username; }
    set username(value) { this.#set('username', value); }
    get password() { return this.#parts.password; }
    set password(value) { this.#set('password', value); }
    get host() { return this.#parts.host; }
    set host(value) { this.#set('host', value); }
    get hostname() { return this.#parts.hostname; }
    set hostname(value) { this.#set('hostname', value); }
    get port() { return this.#parts.port; }
    set port(value) { this.#set('port', value); }
    get pathname() { return this.#parts.pathname; }
    set pathname(value) { this.#set('pathname', value); }
    get search() { return this.#parts.search; }
    set search(value) { this.#set('search', value); }
    get searchParams() {
      if (this.#params === undefined) {
        [this.#params, this.#setParams] = linkParams(this.#query(), (query) => {
          this.#parts = native.urlSet(this.#parts.href, 'search', query) ?? this.#parts;
        });
      }
      return this.#params;
    }
    get hash() { return this.#parts.hash; }
    set hash(value) { this.#set('hash', value); }
    toString() { return this.#parts.href; }
    toJSON() { return this.#parts.href; }
    static canParse(url, base = undefined) {
      needs(arguments, 1, 'URL.canParse');
      return native.urlParse(usv(url), base === undefined ? undefined : usv(base)) !== null;
    }
    static parse(url, base = undefined) {
      needs(arguments, 1, 'URL.parse');
      return URL.canParse(url, base) ? new URL(url, base) : null;
    }
  }
  tagged(URL);

  const typedTag = getter(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag);
  class TextEncoder {
    constructor() { platform.add(this); }
    get encoding() { return 'utf-8'; }
    encode(input = '') {
      const text = `${input}`;
      const bytes = new Uint8Array(native.utf8Length(text));
      native.encodeInto(text, bytes);
      return bytes;
    }
    encodeInto(source, destination) {
      needs(arguments, 2, 'encodeInto');
      if (!ArrayBuffer.isView(destination) || typedTag(destination) !== 'Uint8Array') {
        throw new TypeError('encodeInto: the destination is not a Uint8Array');
      }
      const [read, written] = native.encodeInto(`${source}`, destination);
      return { read, written };
    }
  }
  tagged(TextEncoder);

  class TextDecoder {
    #encoding; #fatal; #ignoreBOM; #stream = 0;
    constructor(label = 'utf-8', options = {}) {
      platform.add(this);
      this.#encoding = native.encodingOf(`${label}`);
      if (this.#encoding === null) throw new RangeError(`TextDecoder: unknown encoding '${label}'`);
      this.#fatal = !!options?.fatal;
      this.#ignoreBOM = !!options?.ignoreBOM;
    }
    get encoding() { return this.#encoding; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBOM; }
    decode(input = undefined, options = {}) {
      if (input !== undefined && !ArrayBuffer.isView(input) && native.kind(input) !== 'ArrayBuffer') {
        throw new TypeError('decode: the input is neither an ArrayBuffer nor a view of one');
      }
      if (this.#stream === 0) this.#stream = native.openDecoder(this.#encoding, this.#ignoreBOM);
      const stream = this.#stream;
      const isLast = !options?.stream;
      if (isLast) this.#stream = 0;
      const text = native.decode(stream, input, this.#fatal, isLast);
      if (text === null) {
        this.#stream = 0;
        throw new TypeError('decode: the input is not valid in its encoding');
      }
      return text;
    }
  }
  tagged(TextDecoder);

  const base64Of = method(Uint8Array.prototype, 'toBase64');
  const bytesOf = Uint8Array.fromBase64.bind(Uint8Array);
  const fromCharCode = String.fromCharCode;
  const badCharacter = (what) => new DOMException(what, 'InvalidCharacterError');
  operation('atob', function atob(data) {
    needs(arguments, 1, 'atob');
    let text = `${data}`.replace(/[\t\n\f\r ]/g, '');
    if (text.length % 4 === 0) text = text.replace(/==?$/, '');
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) {
      throw badCharacter('atob: the string is not valid base64');
    }
    const bytes = bytesOf(text, { lastChunkHandling: 'loose' });
    const pieces = [];
    for (let at = 0; at < bytes.length; at += 4096) {
      pieces.push(Reflect.apply(fromCharCode, String, bytes.subarray(at, at + 4096)));
    }
    return pieces.join('');
  });
  operation('btoa', function btoa(data) {
    needs(arguments, 1, 'btoa');
    const text = `${data}`;
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) {
      const code = charCode(text, at);
      if (code > 255) throw badCharacter('btoa: the string has a character beyond Latin-1');
      bytes[at] = code;
    }
    return base64Of(bytes);
  });

  operation('queueMicrotask', function queueMicrotask(callback) {
    needs(arguments, 1, 'queueMicrotask');
    if (typeof callback !== 'function') throw new TypeError('queueMicrotask expects a function callback');
    // What it throws rejects a promise that nobody has, which the cell tells at its end.
    Reflect.apply(then, promised, [() => { Reflect.apply(callback, undefined, []); }]);
  });

  // The timer of each interval that is pending.
  const intervals = new Map();
  const callable = (callback, what) => {
    if (typeof callback !== 'function') throw new TypeError(`${what} expects a function callback`);
  };
  operation('setTimeout', function setTimeout(callback, delay = 0, ...args) {
    callable(callback, 'setTimeout');
    if (args.length === 0) return native.setTimeout(callback, delay);
    return native.setTimeout(() => Reflect.apply(callback, globalThis, args), delay);
  });
  operation('setInterval', function setInterval(callback, delay = 0, ...args) {
    callable(callback, 'setInterval');
    delay = Number(delay);
    const again = () => {
      Reflect.apply(callback, globalThis, args);
      if (intervals.has(interval)) intervals.set(interval, native.setTimeout(again, delay));
    };
    const interval = native.setTimeout(again, delay);
    intervals.set(interval, interval);
    return interval;
  });
  const clear = (timer) => {
    native.clearTimeout(intervals.get(timer) ?? timer);
    intervals.delete(timer);
  };
  operation('clearTimeout', function clearTimeout(timer = 0) { clear(timer); });
  operation('clearInterval', function clearInterval(timer = 0) { clear(timer); });

  // Milliseconds since the script began, as coarse as Date.
  function now() { return dateNow() - native.startedAt(); }
  class Performance {
    constructor(key) {
      if (key !== inside) throw new TypeError('Illegal constructor');
      platform.add(this);
    }
    now() { return now(); }
    get timeOrigin() { return native.startedAt(); }
    toJSON() { return { timeOrigin: native.startedAt() }; }
  }
  tagged(Performance);

  const integers = new Set(['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array',
    'Int32Array', 'Uint32Array', 'BigInt64Array', 'BigUint64Array']);
  class Crypto {
    constructor(key) {
      if (key !== inside) throw new TypeError('Illegal constructor');
      platform.add(this);
    }
    getRandomValues(array) {
      needs(arguments, 1, 'getRandomValues');
      if (!ArrayBuffer.isView(array) || !integers.has(typedTag(array))) {
        throw new DOMException('getRandomValues: not an array of integers', 'TypeMismatchError');
      }
      if (array.byteLength > 65536) {
        throw new DOMException('getRandomValues: more than 65536 bytes', 'QuotaExceededError');
      }
      native.fillRandom(array);
      return array;
    }
    randomUUID() {
      const bytes = new Uint8Array(16);
      native.fillRandom(bytes);
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const hex = bytes.toHex();
      return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
    }
  }
  tagged(Crypto);
  for (const [name, value] of [['performance', new Performance(inside)], ['crypto', new Crypto(inside)]]) {
    Object.defineProperty(globalThis, name, {
      get() { return value; },
      set(other) { Object.defineProperty(globalThis, name, { value: other, writable: true }); },
      enumerable: true,
      configurable: true,
    });
  }

  const uncloneable = (value, why) => {
    const what = typeof value === 'symbol' ? 'a symbol' : typeof value === 'function' ? 'a function' : 'an object';
    return new DOMException(`structuredClone: ${what} ${why}`, 'DataCloneError');
  };
  const dateValue = method(Date.prototype, 'getTime');
  operation('structuredClone', function structuredClone(value, options = {}) {
    needs(arguments, 1, 'structuredClone');
    const done = new Map();
    const transferred = new Set();
    for (const one of options?.transfer ?? []) {
      if (native.kind(one) !== 'ArrayBuffer' || one.detached || transferred.has(one)) {
        throw uncloneable(one, 'cannot be transferred');
      }
      transferred.add(one);
    }
    const made = (from, to) => { done.set(from, to); return to; };
    const members = (from, to) => {
      for (const key of Object.keys(from)) {
        Object.defineProperty(to, key, {
          value: clone(from[key]), writable: true, enumerable: true, configurable: true,
        });
      }
      return to;
    };
    const buffer = (from) => {
      if (transferred.has(from)) return made(from, from.transfer());
      if (from.detached) throw uncloneable(from, 'is a detached ArrayBuffer');
      if (!from.resizable) return made(from, from.slice(0));
      const to = new ArrayBuffer(from.byteLength, { maxByteLength: from.maxByteLength });
      new Uint8Array(to).set(new Uint8Array(from));
      return made(from, to);
    };
    const error = (from) => {
      const type = exceptions.has(from) ? DOMException : errors[from.name] ?? Error;
      const to = type === DOMException
        ? new DOMException(from.message, from.name) : new type();
      done.set(from, to);
      const own = (key, value) => Object.defineProperty(to, key, { value, writable: true, configurable: true });
      for (const key of ['message', 'stack']) {
        const found = Object.getOwnPropertyDescriptor(from, key);
        if (found && from[key] !== undefined) own(key, `${from[key]}`);
      }
      if (Object.hasOwn(from, 'cause')) own('cause', clone(from.cause));
      return to;
    };
    const clone = (from) => {
      if (typeof from === 'symbol' || typeof from === 'function') throw uncloneable(from, 'cannot be cloned');
      if (from === null || typeof from !== 'object') return from;
      if (done.has(from)) return done.get(from);
      if (platform.has(from) || from instanceof WeakRef) throw uncloneable(from, 'of this kind cannot be cloned');
      switch (native.kind(from)) {
        case 'Object': return members(from, made(from, {}));
        case 'Array': {
          const to = made(from, []);
          to.length = from.length;
          return members(from, to);
        }
        case 'Boolean': return made(from, Object(Boolean.prototype.valueOf.call(from)));
        case 'Number': return made(from, Object(Number.prototype.valueOf.call(from)));
        case 'String': return made(from, Object(String.prototype.valueOf.call(from)));
        case 'BigInt': return made(from, Object(BigInt.prototype.valueOf.call(from)));
        case 'Date': return made(from, new Date(dateValue(from)));
        case 'RegExp': return made(from, new RegExp(from.source, from.flags));
        case 'Error': return error(from);
        case 'ArrayBuffer': return buffer(from);
        case 'View': {
          const name = typedTag(from) ?? 'DataView';
          const { byteOffset } = from;
          const length = name === 'DataView' ? from.byteLength : from.length;
          const type = name === 'DataView' ? DataView : views[name];
          return made(from, new type(clone(from.buffer), byteOffset, length));
        }
        case 'Map': {
          const entries = [...from];
          const to = made(from, new Map());
          for (const [key, one] of entries) to.set(clone(key), clone(one));
          return to;
        }
        case 'Set': {
          const entries = [...from];
          const to = made(from, new Set());
          for (const one of entries) to.add(clone(one));
          return to;
        }
        default: throw uncloneable(from, 'of this kind cannot be cloned');
      }
    };
    const result = clone(value);
    for (const one of transferred) if (!done.has(one)) one.transfer();
    return result;
  });
  const views = { __proto__: null };
  for (const name of [...integers, 'Float16Array', 'Float32Array', 'Float64Array']) views[name] = globalThis[name];

  let indent = '';
  const counts = new Map();
  const timers = new Map();
  const shown = (args) => {
    let at = 0;
    const parts = [];
    if (typeof args[0] === 'string' && args.length > 1 && args[0].includes('%')) {
      at = 1;
      parts.push(args[0].replace(/%[sdifjoOc%]/g, (mark) => {
        if (mark === '%%') return '%';
        if (at >= args.length) return mark;
        const value = args[at];
        at += 1;
        switch (mark) {
          case '%d': case '%i':
            if (typeof value === 'bigint') return `${value}`;
            return typeof value === 'symbol' ? 'NaN' : `${mark === '%i' ? Number.parseInt(value, 10) : Number(value)}`;
          case '%f': return typeof value === 'symbol' ? 'NaN' : `${Number.parseFloat(value)}`;
          case '%c': return '';
          default: return typeof value === 'symbol' ? String(value) : native.show(value);
        }
      }));
    }
    for (; at < args.length; at += 1) {
      parts.push(typeof args[at] === 'symbol' || typeof args[at] === 'function'
        ? String(args[at]) : native.show(args[at]));
    }
    return parts.join(' ');
  };
  const say = (level, text) => {
    const lines = indent === '' ? text : text.split('\n').join(`\n${indent}`);
    native.text(`[${level}] ${indent}${lines}`);
  };
  const label = (name) => (name === undefined ? 'default' : `${name}`);
  const elapsed = (name) => {
    const begun = timers.get(name);
    return begun === undefined ? `timer '${name}' does not exist` : `${name}: ${dateNow() - begun} ms`;
  };
  const console = {
    log(...args) { say('log', shown(args)); },
    debug(...args) { say('debug', shown(args)); },
    info(...args) { say('info', shown(args)); },
    warn(...args) { say('warn', shown(args)); },
    error(...args) { say('error', shown(args)); },
    trace(...args) {
      const holder = {};
      captureStackTrace(holder, console.trace);
      const lines = holder.stack.split('\n').slice(1).join('\n');
      say('trace', `${shown(args)}\n${lines}`);
    },
    dir(value) { say('log', shown([value])); },
    dirxml(...args) { say('log', shown(args)); },
    table(value) { say('log', shown([value])); },
    assert(condition = false, ...args) {
      if (condition) return;
      const text = shown(args);
      say('error', text === '' ? 'Assertion failed' : `Assertion failed: ${text}`);
    },
    group(...args) {
      if (args.length > 0) say('log', shown(args));
      if (indent.length < 64) indent += '  ';
    },
    groupCollapsed(...args) { console.group(...args); },
    groupEnd() { indent = indent.slice(2); },
    count(name = undefined) {
      const key = label(name);
      counts.set(key, (counts.get(key) ?? 0) + 1);
      say('log', `${key}: ${counts.get(key)}`);
    },
    countReset(name = undefined) { counts.delete(label(name)); },
    time(name = undefined) { timers.set(label(name), dateNow()); },
    timeLog(name = undefined, ...args) {
      say('log', [elapsed(label(name)), ...(args.length > 0 ? [shown(args)] : [])].join(' '));
    },
    timeEnd(name = undefined) {
      say('log', elapsed(label(name)));
      timers.delete(label(name));
    },
    clear() {},
  };
  Object.defineProperty(console, Symbol.toStringTag, { value: 'console', configurable: true });
  Object.defineProperty(globalThis, 'console', { value: console, writable: true, configurable: true });

  // What a call of a tool does with its second argument: the reason in an array when it is not to be made.
  return (options, call) => {
    const signal = options.signal;
    if (signal === undefined) return undefined;
    const isAborted = onAbort(signal, () => native.abandon(call, signal.reason));
    return isAborted ? [signal.reason] : undefined;
  };
}
