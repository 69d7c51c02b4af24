//! What the template crate does not check when it parses: balanced blocks, known functions and
//! variables. It also makes every printing action print as Go does.

use std::collections::HashSet;

use gotmpl::parse::{BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Parser, PipeNode};

/// The function that the last command of a printing action passes its value through.
pub(crate) const PRINT: &str = "__print";

/// What is wrong with a template, and where in its text (line from 1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    pub line: usize,
    pub message: String,
}

/// Parses `text` and checks it. `knows` tells whether a function exists; `variables` are declared
/// before the first line.
pub(crate) fn parse(
    text: &str,
    knows: &dyn Fn(&str) -> bool,
    variables: &[&str],
) -> Result<(ListNode, Vec<DefineNode>), SyntaxError> {
    check_balance(text)?;
    let parsed = Parser::new(text, "{{", "}}").and_then(Parser::parse);
    let (mut body, mut defines) = parsed.map_err(from_parser)?;
    let mut names = HashSet::new();
    for define in &mut defines {
        if !define.body.is_empty_tree() && !names.insert(define.name.clone()) {
            let message = format!("template {:?} is defined twice", define.name);
            return Err(SyntaxError { line: define.pos.line, message });
        }
        Walk { knows, scope: vec!["$".to_owned()], ranges: 0 }.list(&mut define.body)?;
    }
    let scope = variables.iter().map(|name| (*name).to_owned()).chain(["$".to_owned()]).collect();
    Walk { knows, scope, ranges: 0 }.list(&mut body)?;
    Ok((body, defines))
}

fn from_parser(error: gotmpl::TemplateError) -> SyntaxError {
    use gotmpl::TemplateError::{Lex, Parse};
    match error {
        Lex { line, message, .. } | Parse { line, message, .. } => {
            SyntaxError { line: line.max(1), message }
        }
        other => SyntaxError { line: 1, message: other.to_string() },
    }
}

struct Walk<'a> {
    knows: &'a dyn Fn(&str) -> bool,
    /// Declared variables, innermost last; a block takes its own away when it ends.
    scope: Vec<String>,
    /// Ranges around the node.
    ranges: usize,
}

impl Walk<'_> {
    fn list(&mut self, list: &mut ListNode) -> Result<(), SyntaxError> {
        for node in &mut list.nodes {
            self.node(node)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &mut Node) -> Result<(), SyntaxError> {
        match node {
            Node::Action(action) => {
                self.pipe(&mut action.pipe)?;
                if action.pipe.decl.is_empty() {
                    let pos = action.pos;
                    let args = vec![Expr::Identifier(pos, PRINT.into())];
                    action.pipe.commands.push(CommandNode { pos, args });
                }
                Ok(())
            }
            Node::If(branch) | Node::With(branch) => self.branch(branch),
            Node::Range(branch) => {
                self.ranges += 1;
                let outcome = self.branch(branch);
                self.ranges -= 1;
                outcome
            }
            Node::Break(pos) | Node::Continue(pos) if self.ranges == 0 => {
                let message = "{{break}} or {{continue}} outside {{range}}".to_owned();
                Err(SyntaxError { line: pos.line, message })
            }
            Node::Template(call) => call.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::List(list) => self.list(list),
            Node::Define(_) | Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&mut self, branch: &mut BranchNode) -> Result<(), SyntaxError> {
        let outside = self.scope.len();
        self.pipe(&mut branch.pipe)?;
        let inside = self.scope.len();
        self.list(&mut branch.body)?;
        self.scope.truncate(inside);
        if let Some(other) = &mut branch.else_body {
            self.list(other)?;
        }
        self.scope.truncate(outside);
        Ok(())
    }

    fn pipe(&mut self, pipe: &mut PipeNode) -> Result<(), SyntaxError> {
        for command in &pipe.commands {
            for arg in &command.args {
                self.expr(arg)?;
            }
        }
        for name in &pipe.decl {
            if !pipe.is_assign {
                self.scope.push(name.to_string());
            } else {
                self.variable(name, pipe.pos.line)?;
            }
        }
        Ok(())
    }

    fn expr(&mut self, expr: &Expr) -> Result<(), SyntaxError> {
        match expr {
            Expr::Identifier(pos, name) if !(self.knows)(name) => {
                let message = format!("function {name:?} not defined");
                Err(SyntaxError { line: pos.line, message })
            }
            Expr::Variable(pos, name, _) => self.variable(name, pos.line),
            Expr::Pipe(_, pipe) => self.pipe(&mut pipe.clone()),
            Expr::Chain(_, inner, _) => self.expr(inner),
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &str, line: usize) -> Result<(), SyntaxError> {
        match self.scope.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err(SyntaxError { line, message: format!("undefined variable {name:?}") }),
        }
    }
}

/// Refuses an `end` or `else` without its block and a block without its `end`.
fn check_balance(text: &str) -> Result<(), SyntaxError> {
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        let line = 1 + newlines(text) - newlines(action);
        // A lone brace before the delimiter belongs to the text.
        let _ = before;
        let inside = action.strip_prefix("- ").unwrap_or(action).trim_start();
        if let Some(comment) = inside.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
            continue;
        }
        let word: String = inside.chars().take_while(char::is_ascii_alphabetic).collect();
        let refused = |message: &str| Err(SyntaxError { line, message: message.to_owned() });
        match word.as_str() {
            "if" | "range" | "with" | "define" | "block" => open.push((word, line)),
            "end" => match open.pop() {
                Some(_) => {}
                None => return refused("unexpected {{end}}"),
            },
            "else" => match open.last() {
                Some((block, _)) if matches!(block.as_str(), "if" | "range" | "with") => {}
                _ => return refused("unexpected {{else}}"),
            },
            _ => {}
        }
        rest = after_action(inside);
    }
    match open.pop() {
        None => Ok(()),
        Some((word, line)) => {
            Err(SyntaxError { line, message: format!("{{{{{word}}}}} has no {{{{end}}}}") })
        }
    }
}

/// What follows the `}}` of an action; strings and characters inside it may hold braces.
fn after_action(action: &str) -> &str {
    let mut chars = action.char_indices().peekable();
    while let Some((_, char)) = chars.next() {
        match char {
            '"' | '\'' => {
                while let Some((_, inner)) = chars.next() {
                    match inner {
                        '\\' => drop(chars.next()),
                        _ if inner == char => break,
                        _ => {}
                    }
                }
            }
            '`' => drop(chars.by_ref().find(|(_, inner)| *inner == '`')),
            '}' if chars.peek().is_some_and(|(_, next)| *next == '}') => {
                chars.next();
                return chars.peek().and_then(|(at, _)| action.get(*at..)).unwrap_or("");
            }
            _ => {}
        }
    }
    ""
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}
