// SPDX-License-Identifier: Apache-2.0
//! Which parts of a program are TypeScript's alone, and what has to stand in their place.
//!
//! Blanks alone would now and then join two statements, or part what must stand on one line; a `;` or a
//! parenthesis in the place of the first or last erased character prevents that.

use std::ops::Range;

use oxc_ast::AstKind;
use oxc_ast::ast::{
    AccessorPropertyType, ArrowFunctionExpression, Class, ClassElement, Declaration, Decorator,
    ExportDefaultDeclarationKind, FormalParameter, Function, FunctionType, ImportOrExportKind,
    MethodDefinition, MethodDefinitionType, PropertyDefinition, PropertyDefinitionType,
    PropertyKey, Statement, TSTypeAssertion, VariableDeclarator,
};
use oxc_ast_visit::{VisitJs, walk_js};
use oxc_span::{GetSpan, Span};

use super::blanks::Blanks;
use super::error::{MoreThanType, TypeScriptError};

/// Goes through a program and notes what becomes blank.
pub(super) struct Eraser<'s> {
    source: &'s str,
    blanks: Blanks<'s>,
    refused: Option<TypeScriptError>,
}

/// What becomes of a statement.
enum Fate {
    /// It is JavaScript, with types in it perhaps.
    Stays,
    /// It is all types.
    Goes,
    /// It does something that JavaScript has no word for.
    Refused(MoreThanType),
}

impl<'s> Eraser<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            blanks: Blanks::new(source),
            refused: None,
        }
    }

    /// The source without its types.
    pub(super) fn finish(self) -> Result<String, TypeScriptError> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self.blanks.finish()),
        }
    }

    fn refuse(&mut self, what: MoreThanType, span: Span) {
        // The first in the source is told; nodes come nearly in that order, but not quite.
        let offset = span.start as usize;
        if let Some(TypeScriptError::MoreThanTypes { offset: first, .. }) = &self.refused
            && *first <= offset
        {
            return;
        }
        self.refused = Some(TypeScriptError::MoreThanTypes { what, offset });
    }

    fn blank(&mut self, span: Span) {
        self.blanks.blank(range(span));
    }

    fn blank_if_any(&mut self, span: Option<Span>) {
        if let Some(span) = span {
            self.blank(span);
        }
    }

    /// Makes a statement or a member of a class blank, but for a `;` that keeps its neighbours apart.
    fn blank_whole(&mut self, span: Span) {
        self.blank(span);
        self.blanks.put(span.start as usize, b';');
    }

    /// Blanks an item of a list and the comma behind it.
    fn blank_item(&mut self, span: Span) {
        self.blank(span);
        let next = self.next_token(span.end as usize);
        if self.starts_with(next, ",") {
            self.blanks.blank(next..next + 1);
        }
    }

    /// Where the next token begins: behind blanks and comments.
    fn next_token(&self, mut at: usize) -> usize {
        loop {
            let rest = self.source.get(at..).unwrap_or_default();
            let trimmed = rest.trim_start_matches(is_blank);
            at += rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") {
                trimmed.find(['\n', '\r', '\u{2028}', '\u{2029}'])
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map(|end| end + "*/".len())
            } else {
                return at;
            };
            match comment {
                Some(length) => at += length,
                None => return self.source.len(),
            }
        }
    }

    fn starts_with(&self, at: usize, text: &str) -> bool {
        self.source
            .get(at..)
            .is_some_and(|rest| rest.starts_with(text))
    }

    /// The word that begins here; empty where none does.
    fn word(&self, at: usize) -> &'s str {
        let rest = self.source.get(at..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_lowercase());
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }

    fn breaks_line(&self, range: Range<usize>) -> bool {
        let text = self.source.get(range).unwrap_or_default();
        text.contains(['\n', '\r', '\u{2028}', '\u{2029}'])
    }

    /// Blanks the mark, `?` or `!`, that stands here if one does.
    fn blank_mark(&mut self, at: usize) {
        if self.starts_with(at, "?") || self.starts_with(at, "!") {
            self.blanks.blank(at..at + 1);
        }
    }

    /// Blanks what follows an expression and belongs to it, such as `as T`. What comes on the next line would
    /// go on with the expression then, though it did not before.
    fn blank_behind(&mut self, expression: Span, whole: Span) {
        let erased = expression.end as usize..whole.end as usize;
        let next = self.next_token(erased.end);
        let follows = ["(", "[", "`"].into_iter();
        if self.breaks_line(erased.end..next) && { follows }
            .any(|text| self.starts_with(next, text))
        {
            self.blanks.put(erased.start, b';');
        }
        self.blanks.blank(erased);
    }

    fn function(&mut self, function: &Function<'_>) {
        self.blank_if_any(function.type_parameters.as_ref().map(|it| it.span));
        if let Some(this) = &function.this_param {
            self.blank_item(this.span);
        }
        self.blank_if_any(function.return_type.as_ref().map(|it| it.span));
    }

    fn arrow(&mut self, arrow: &ArrowFunctionExpression<'_>) {
        let params = range(arrow.params.span);
        if let Some(types) = &arrow.type_parameters {
            let erased = types.span.start as usize..params.start;
            if self.breaks_line(erased.clone()) {
                // Behind `async` and `return` the parenthesis has to stand on the same line.
                self.blanks.put(erased.start, b'(');
                self.blanks.blank(erased.start..params.start + 1);
            }
            self.blank(types.span);
        }
        if let Some(result) = &arrow.return_type {
            let erased = params.end..result.span.end as usize;
            if self.breaks_line(erased.clone()) {
                // So has the arrow with the parenthesis before it.
                let text = self.source.get(..erased.end).unwrap_or_default();
                self.blanks
                    .put(text.floor_char_boundary(text.len() - 1), b')');
                self.blanks.blank(params.end - 1..erased.end);
            }
            self.blank(result.span);
        }
    }

    fn parameter(&mut self, parameter: &FormalParameter<'_>) {
        if parameter.accessibility.is_some() || parameter.readonly || parameter.r#override {
            self.refuse(MoreThanType::ParameterProperty, parameter.span);
        }
        let types = parameter.type_annotation.as_ref().map(|it| it.span);
        self.binding(parameter.pattern.span(), parameter.optional, types);
    }

    fn declarator(&mut self, declarator: &VariableDeclarator<'_>) {
        let types = declarator.type_annotation.as_ref().map(|it| it.span);
        self.binding(declarator.id.span(), declarator.definite, types);
    }

    fn binding(&mut self, pattern: Span, is_marked: bool, types: Option<Span>) {
        if is_marked {
            self.blank_mark(self.next_token(pattern.end as usize));
        }
        self.blank_if_any(types);
    }

    fn class(&mut self, class: &Class<'_>) {
        let mut at = class.span.start as usize;
        if class.r#abstract && self.word(at) == "abstract" {
            let end = at + "abstract".len();
            self.blanks.blank(at..end);
            at = self.next_token(end);
        }
        at += "class".len();
        if let Some(name) = &class.id {
            at = name.span.end as usize;
        }
        if let Some(types) = &class.type_parameters {
            self.blank(types.span);
            at = types.span.end as usize;
        }
        if let Some(heritage) = &class.heritage {
            at = heritage.expression.span().end as usize;
            if let Some(types) = &heritage.type_arguments {
                self.blank(types.span);
                at = types.span.end as usize;
            }
        }
        if let Some(last) = class.implements.last() {
            self.blanks
                .blank(self.next_token(at)..last.span.end as usize);
        }
    }

    /// Blanks the modifiers of a member of a class that JavaScript does not know.
    fn modifiers(&mut self, member: Span, key: &PropertyKey<'_>) {
        let end = key.span().start as usize;
        let mut at = member.start as usize;
        while at < end {
            let word = self.word(at);
            let after = at + word.len();
            match word {
                "public" | "private" | "protected" | "readonly" | "override" | "abstract"
                | "declare" => {
                    self.blanks.blank(at..after);
                    if at == member.start as usize {
                        self.blanks.put(at, b';');
                    }
                }
                "" => return,
                _ => {}
            }
            at = self.next_token(after);
        }
    }

    /// Where the name of a member ends, with the bracket of a computed one.
    fn name_end(&self, key: &PropertyKey<'_>, is_computed: bool) -> usize {
        let end = self.next_token(key.span().end as usize);
        if is_computed && self.starts_with(end, "]") {
            self.next_token(end + 1)
        } else {
            end
        }
    }

    fn property(&mut self, property: &PropertyDefinition<'_>) {
        self.modifiers(property.span, &property.key);
        let name_end = self.name_end(&property.key, property.computed);
        if property.optional || property.definite {
            self.blank_mark(name_end);
        }
        let types = property.type_annotation.as_ref().map(|it| it.span);
        self.blank_if_any(types);
        if property.value.is_none() && (types.is_some() || property.optional) {
            // The next member would go on with this one.
            self.blanks.put(name_end, b';');
        }
    }

    fn method(&mut self, method: &MethodDefinition<'_>) {
        self.modifiers(method.span, &method.key);
        if method.optional {
            let name_end = self.name_end(&method.key, method.computed);
            self.blank_mark(name_end);
        }
    }

    /// `<T>value`. What is left must not begin a line or a block that the whole did not.
    fn assertion(&mut self, assertion: &TSTypeAssertion<'_>) {
        let start = assertion.span.start as usize;
        let value = assertion.expression.span().start as usize;
        let word = self.word(value);
        if self.breaks_line(start..value)
            || self.starts_with(value, "{")
            || matches!(word, "function" | "class" | "let" | "async")
        {
            self.refuse(MoreThanType::Assertion, assertion.span);
        }
        self.blanks.blank(start..value);
    }
}

fn range(span: Span) -> Range<usize> {
    span.start as usize..span.end as usize
}

/// What JavaScript takes for a blank or the end of a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

fn fate(statement: &Statement<'_>) -> Fate {
    let kind = |kind: ImportOrExportKind| match kind {
        ImportOrExportKind::Type => Fate::Goes,
        ImportOrExportKind::Value => Fate::Stays,
    };
    match statement {
        Statement::ImportDeclaration(it) => kind(it.import_kind),
        Statement::ExportNamedDeclaration(it) => kind(it.export_kind),
        Statement::ExportFromDeclaration(it) => kind(it.export_kind),
        Statement::ExportAllDeclaration(it) => kind(it.export_kind),
        Statement::ExportDeclaration(it) => fate_of_declaration(&it.declaration),
        Statement::ExportDefaultDeclaration(it) => match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => Fate::Goes,
            ExportDefaultDeclarationKind::FunctionDeclaration(it) => fate_of_function(it),
            _ => Fate::Stays,
        },
        Statement::TSExportAssignment(_) => Fate::Refused(MoreThanType::ExportEquals),
        Statement::TSNamespaceExportDeclaration(_) => Fate::Goes,
        _ => statement
            .as_declaration()
            .map_or(Fate::Stays, fate_of_declaration),
    }
}

fn fate_of_declaration(declaration: &Declaration<'_>) -> Fate {
    let declared = |is_declared: bool, otherwise: Fate| {
        if is_declared { Fate::Goes } else { otherwise }
    };
    match declaration {
        Declaration::VariableDeclaration(it) => declared(it.declare, Fate::Stays),
        Declaration::FunctionDeclaration(it) => fate_of_function(it),
        Declaration::ClassDeclaration(it) => declared(it.declare, Fate::Stays),
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_)
        | Declaration::TSGlobalDeclaration(_) => Fate::Goes,
        Declaration::TSEnumDeclaration(it) => {
            declared(it.declare, Fate::Refused(MoreThanType::Enum))
        }
        Declaration::TSNamespaceDeclaration(it) => {
            declared(it.declare, Fate::Refused(MoreThanType::Namespace))
        }
        Declaration::TSImportEqualsDeclaration(it) => match it.import_kind {
            ImportOrExportKind::Type => Fate::Goes,
            ImportOrExportKind::Value => Fate::Refused(MoreThanType::ImportEquals),
        },
    }
}

/// A function that is only declared, as an overload is, says nothing but its type.
fn fate_of_function(function: &Function<'_>) -> Fate {
    if function.declare || function.r#type == FunctionType::TSDeclareFunction {
        Fate::Goes
    } else {
        Fate::Stays
    }
}

/// Whether a member of a class says nothing but its type.
fn is_type_only(member: &ClassElement<'_>) -> bool {
    match member {
        ClassElement::StaticBlock(_) => false,
        ClassElement::TSIndexSignature(_) => true,
        ClassElement::MethodDefinition(it) => {
            it.r#type == MethodDefinitionType::TSAbstractMethodDefinition
                || it.value.r#type == FunctionType::TSEmptyBodyFunctionExpression
        }
        ClassElement::PropertyDefinition(it) => {
            it.declare || it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition
        }
        ClassElement::AccessorProperty(it) => {
            it.r#type == AccessorPropertyType::TSAbstractAccessorProperty
        }
    }
}

impl<'a> VisitJs<'a> for Eraser<'_> {
    fn visit_statement(&mut self, statement: &Statement<'a>) {
        match fate(statement) {
            Fate::Stays => walk_js::walk_statement(self, statement),
            Fate::Goes => self.blank_whole(statement.span()),
            Fate::Refused(what) => self.refuse(what, statement.span()),
        }
    }

    fn visit_class_element(&mut self, member: &ClassElement<'a>) {
        if is_type_only(member) {
            self.blank_whole(member.span());
        } else {
            walk_js::walk_class_element(self, member);
        }
    }

    fn visit_decorator(&mut self, decorator: &Decorator<'a>) {
        self.refuse(MoreThanType::Decorator, decorator.span);
    }

    fn enter_node(&mut self, kind: AstKind<'a>) {
        match kind {
            AstKind::Function(it) => self.function(it),
            AstKind::ArrowFunctionExpression(it) => self.arrow(it),
            AstKind::FormalParameter(it) => self.parameter(it),
            AstKind::FormalParameterRest(it) => {
                self.blank_if_any(it.type_annotation.as_ref().map(|it| it.span));
            }
            AstKind::CatchParameter(it) => {
                self.blank_if_any(it.type_annotation.as_ref().map(|it| it.span));
            }
            AstKind::VariableDeclarator(it) => self.declarator(it),
            AstKind::Class(it) => self.class(it),
            AstKind::PropertyDefinition(it) => self.property(it),
            AstKind::AccessorProperty(it) => {
                self.modifiers(it.span, &it.key);
                self.blank_if_any(it.type_annotation.as_ref().map(|it| it.span));
            }
            AstKind::MethodDefinition(it) => self.method(it),
            AstKind::CallExpression(it) => {
                self.blank_if_any(it.type_arguments.as_ref().map(|it| it.span));
            }
            AstKind::NewExpression(it) => {
                self.blank_if_any(it.type_arguments.as_ref().map(|it| it.span));
            }
            AstKind::TaggedTemplateExpression(it) => {
                self.blank_if_any(it.type_arguments.as_ref().map(|it| it.span));
            }
            AstKind::TSAsExpression(it) => self.blank_behind(it.expression.span(), it.span),
            AstKind::TSSatisfiesExpression(it) => {
                self.blank_behind(it.expression.span(), it.span);
            }
            AstKind::TSInstantiationExpression(it) => {
                self.blank_behind(it.expression.span(), it.span);
            }
            AstKind::TSNonNullExpression(it) => {
                self.blanks
                    .blank(it.expression.span().end as usize..it.span.end as usize);
            }
            AstKind::TSTypeAssertion(it) => self.assertion(it),
            AstKind::ImportSpecifier(it) if it.import_kind == ImportOrExportKind::Type => {
                self.blank_item(it.span);
            }
            AstKind::ExportSpecifier(it) if it.export_kind == ImportOrExportKind::Type => {
                self.blank_item(it.span);
            }
            _ => {}
        }
    }
}
