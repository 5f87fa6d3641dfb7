// SPDX-License-Identifier: Apache-2.0
use super::{MoreThanType, TypeScriptError, without_types};

/// What is left of a source, with runs of blanks as one, so that tests can be read.
fn left(source: &str) -> String {
    let text = without_types(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let lines = |text: &str| text.lines().count();
    assert_eq!(lines(&text), lines(source), "{source}");
    let units = |text: &str| text.encode_utf16().count();
    assert_eq!(units(&text), units(source), "{source}");
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[track_caller]
fn check(source: &str, expect: &str) {
    assert_eq!(left(source), expect, "{source}");
}

#[test]
fn types_become_blanks_and_positions_stay() {
    let source = "const x: Array<number> = f<string>('a') as any, y = z!;";
    let expect = "const x                = f        ('a')       , y = z ;";
    assert_eq!(without_types(source).as_deref(), Ok(expect));
}

#[test]
fn every_kind_of_type_goes() {
    for (source, expect) in [
        ("let a: T, b!: U;", "let a , b ;"),
        ("for (const x of y as T[]) {}", "for (const x of y ) {}"),
        (
            "function f<T>(this: X, a?: T, ...r: T[]): r is U { }",
            "function f ( a , ...r ) { }",
        ),
        ("function f(this: X) {}", "function f( ) {}"),
        (
            "function f({ a, b }: { a: 1, b: 2 } = c) {}",
            "function f({ a, b } = c) {}",
        ),
        ("const f = <T,>(a: T): T => a;", "const f = (a ) => a;"),
        (
            "const f = async <T>(a: T): Promise<T> => a;",
            "const f = async (a ) => a;",
        ),
        ("try {} catch (e: unknown) {}", "try {} catch (e ) {}"),
        (
            "new Map<string, number>(); new Set<T>;",
            "new Map (); new Set ;",
        ),
        ("f<T>`a`; a?.b<T>(c);", "f `a`; a?.b (c);"),
        ("const y = x satisfies T as const;", "const y = x ;"),
        ("(x as any) = 1; x!.y!++; <any>x;", "(x ) = 1; x .y ++; x;"),
        ("const g = f<string>;", "const g = f ;"),
        (
            "import type { A } from 'a'; import { type B, c, type D } from 'b';",
            "; import { c, } from 'b';",
        ),
        (
            "export type { A }; export type * from 'a'; export { type B, c };",
            "; ; export { c };",
        ),
        (
            "export type A = 1; export interface B {}; export declare const c: 1;",
            "; ; ; ;",
        ),
        (
            "type A = 1; interface B { a: 1 } declare global { var x: 1 }",
            "; ; ;",
        ),
        (
            "declare function f(): void; declare class C {} declare enum E {}",
            "; ; ;",
        ),
        (
            "declare namespace N { const a: 1 } declare module 'm' {}",
            "; ;",
        ),
        (
            "function f(): void; function f(a: 1): void; function f(a?: 1) {}",
            "; ; function f(a ) {}",
        ),
        ("export default interface A {}", ";"),
    ] {
        check(source, expect);
    }
}

#[test]
fn classes_keep_what_javascript_knows() {
    for (source, expect) in [
        (
            "abstract class A<T> extends B<T> implements C, D<T> {}",
            "class A extends B {}",
        ),
        ("const a = class implements B {};", "const a = class {};"),
        (
            "class A { private x: number; static readonly y?: 1 = 1; #z!: 1 }",
            "class A { ; x; ; static y = 1; #z; }",
        ),
        (
            "class A { declare a: 1; abstract b: 2; [k: string]: 3; c; }",
            "class A { ; ; ; c; }",
        ),
        (
            "class A { constructor(a: 1); constructor(a: any) {} }",
            "class A { ; constructor(a ) {} }",
        ),
        (
            "class A { public async *f<T>(): G<T> {} get a(): 1 { return 1 } }",
            "class A { ; async *f () {} get a() { return 1 } }",
        ),
        (
            "class A { public public() {} readonly = 1; static override f() {} }",
            "class A { ; public() {} readonly = 1; static f() {} }",
        ),
        (
            "class A { protected abstract f(): void; private [x]: 1 = 2 }",
            "class A { ; ; [x] = 2 }",
        ),
    ] {
        check(source, expect);
    }
}

#[test]
fn lines_do_not_grow_together() {
    for (source, expect) in [
        ("const a = b as T\n[c] = d", "const a = b; \n[c] = d"),
        ("a = b as T\n(c)", "a = b; \n(c)"),
        ("a\ntype T = 1\n(b)", "a\n; \n(b)"),
        ("class A { get: T\n f() {} }", "class A { get; \n f() {} }"),
        (
            "class A { a = 1\n private [b] = 2 }",
            "class A { a = 1\n ; [b] = 2 }",
        ),
        ("class A { x: T\n *g() {} }", "class A { x; \n *g() {} }"),
        ("const f = (a):\n T => a", "const f = (a \n ) => a"),
        (
            "const f = async <\nT>(a: T) => a",
            "const f = async ( \n a ) => a",
        ),
        ("const f = (a): // )\n 型 => a", "const f = (a \n ) => a"),
    ] {
        let got = without_types(source).expect("TypeScript");
        let squeezed = |text: &str| {
            let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
            words.join(" ")
        };
        assert_eq!(squeezed(&got), squeezed(expect), "{source}");
    }
}

#[test]
fn what_is_more_than_a_type_is_named_with_its_place() {
    for (source, what, offset) in [
        ("let a: 1;\nenum E { A }", MoreThanType::Enum, 10),
        ("export const enum E { A }", MoreThanType::Enum, 0),
        (
            "namespace N { export const a = 1 }",
            MoreThanType::Namespace,
            0,
        ),
        ("import a = require('a');", MoreThanType::ImportEquals, 0),
        ("export = 1;", MoreThanType::ExportEquals, 0),
        (
            "class A { constructor(private a: 1) {} }",
            MoreThanType::ParameterProperty,
            22,
        ),
        ("@d class A {}", MoreThanType::Decorator, 0),
        ("class A { @d f() {} }", MoreThanType::Decorator, 10),
        ("const f = () => <T>{};", MoreThanType::Assertion, 16),
    ] {
        match without_types(source) {
            Err(TypeScriptError::MoreThanTypes {
                what: told,
                offset: at,
            }) => {
                assert_eq!((told, at), (what, offset), "{source}");
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_typescript_is_told_with_its_place() {
    match without_types("let a: number = 1;\nlet b: = 2;") {
        Err(TypeScriptError::Syntax { offset, .. }) => assert_eq!(offset, 26),
        other => panic!("{other:?}"),
    }
    let long = " ".repeat(super::MAX_TYPESCRIPT_BYTES + 1);
    assert!(matches!(
        without_types(&long),
        Err(TypeScriptError::Unreadable { .. })
    ));
}
