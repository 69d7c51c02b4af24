//! Parses templates, and turns fields and methods into calls of one function that knows Go's types.

use gotmpl::parse::{BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, PipeNode, Pos};

use super::syntax::{self, SyntaxError};

/// The function that every field and method is a call of: value, path, arguments of the last.
pub(crate) const GET: &str = "__get";
/// The function that a value passes through before `range` goes over it.
pub(crate) const RANGED: &str = "__ranged";
/// The function that gives nothing, for who calls a template with nothing.
pub(crate) const NOTHING: &str = "__nothing";

/// As [`syntax::parse`].
pub(crate) fn parse(
    text: &str,
    knows: &dyn Fn(&str) -> bool,
    variables: &[&str],
) -> Result<(ListNode, Vec<DefineNode>), SyntaxError> {
    let (mut body, mut defines) = syntax::parse(text, knows, variables)?;
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
            Node::If(block) | Node::With(block) => branch(block),
            Node::Range(block) => {
                branch(block);
                block.pipe.commands.push(command(block.pipe.pos, RANGED));
            }
            // The crate would hand its own dot on.
            Node::Template(call) => match &mut call.pipe {
                Some(given) => pipe(given),
                none => {
                    let (pos, decl) = (call.pos, Vec::new());
                    let commands = vec![command(pos, NOTHING)];
                    *none = Some(PipeNode { pos, decl, commands, is_assign: false });
                }
            },
            Node::List(inner) => list(inner),
            Node::Define(define) => list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

fn command(pos: Pos, name: &str) -> CommandNode {
    CommandNode { pos, args: vec![Expr::Identifier(pos, name.into())] }
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
