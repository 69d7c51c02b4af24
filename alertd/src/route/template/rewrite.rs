//! Parses templates, and turns fields and methods into calls of one function that knows Go's types.

use gotmpl::parse::{BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, PipeNode, Pos};

use super::functions;
use super::members::GET;
use crate::rules::template::SyntaxError;
use crate::rules::template::syntax;

pub(super) fn parse(text: &str) -> Result<(ListNode, Vec<DefineNode>), SyntaxError> {
    let (mut body, mut defines) = syntax::parse(text, &functions::known, &[])?;
    list(&mut body);
    for define in &mut defines {
        list(&mut define.body);
    }
    Ok((body, defines))
}

fn list(nodes: &mut ListNode) {
    for node in &mut nodes.nodes {
        match node {
            Node::Action(action) => pipe(&mut action.pipe),
            Node::If(block) | Node::With(block) | Node::Range(block) => branch(block),
            Node::Template(call) => call.pipe.iter_mut().for_each(pipe),
            Node::List(inner) => list(inner),
            Node::Define(define) => list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn branch(block: &mut BranchNode) {
    pipe(&mut block.pipe);
    list(&mut block.body);
    block.else_body.iter_mut().for_each(list);
}

fn pipe(pipe: &mut PipeNode) {
    for command in &mut pipe.commands {
        let mut args = std::mem::take(&mut command.args).into_iter();
        // What stands first may be a method: it takes the rest as its arguments.
        if let Some(first) = args.next() {
            match member(first) {
                Ok(call) => command.args.extend(call),
                Err(other) => command.args.push(inside(other)),
            }
        }
        command.args.extend(args.map(|arg| match member(arg) {
            Ok(call) => wrapped(call),
            Err(other) => inside(other),
        }));
    }
}

/// The call that stands for `.A.B`, `$x.A` or `(…).A`; anything else is handed back.
fn member(expr: Expr) -> Result<[Expr; 3], Expr> {
    let (pos, base, path) = match expr {
        Expr::Field(pos, path) => (pos, Expr::Dot(pos), path),
        Expr::Variable(pos, name, path) if !path.is_empty() => {
            (pos, Expr::Variable(pos, name, Vec::new()), path)
        }
        Expr::Chain(pos, inner, path) => {
            let inner = match member(*inner) {
                Ok(call) => wrapped(call),
                Err(other) => inside(other),
            };
            (pos, inner, path)
        }
        other => return Err(other),
    };
    let path: Vec<&str> = path.iter().map(|name| name.as_str()).collect();
    let path = Expr::String(pos, path.join(".").into());
    Ok([Expr::Identifier(pos, GET.into()), base, path])
}

fn inside(expr: Expr) -> Expr {
    match expr {
        Expr::Pipe(pos, mut inner) => {
            pipe(&mut inner);
            Expr::Pipe(pos, inner)
        }
        other => other,
    }
}

fn wrapped(call: [Expr; 3]) -> Expr {
    let pos: Pos = call[0].pos();
    let commands = vec![CommandNode { pos, args: call.into() }];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}
