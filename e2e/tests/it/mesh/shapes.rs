//! Nodes that know only the next become one mesh, and two meshes become one by a node that knows both.

use std::time::Instant;

use anyhow::Result;
use e2e::checker::Owed;
use e2e::mesh::{Mesh, PATIENCE, until_whole};
use e2e::scale;

use super::{ensure_everywhere, publish_ends};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_makes_a_line_of_five_one_mesh() -> Result<()> {
    let mut mesh = Mesh::new("line");
    let mut owed = Owed::default();
    let began = Instant::now();
    for number in 0..5_usize {
        let knows = number.checked_sub(1);
        mesh.add(knows.as_slice(), &[]).await?;
        owed.acked
            .extend(mesh.http(number)?.publish_numbered("line", &format!("l{number}"), 0..50, 50).await?);
    }
    let whole = mesh.until_whole(PATIENCE).await?;
    scale::say(&format!(
        "a line of five is a mesh {whole:?} after the last start, {:?} after the first",
        began.elapsed()
    ));
    publish_ends(&mesh, &mut owed).await?;
    ensure_everywhere(&mesh, &owed).await?;
    mesh.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_joins_two_halves_by_one_node() -> Result<()> {
    let mut mesh = Mesh::new("halves");
    let mut owed = Owed::default();
    for knows in [&[][..], &[0], &[], &[2]] {
        mesh.add(knows, &[]).await?;
    }
    let [a, b, c, d] = &mesh.nodes[..] else { anyhow::bail!("not four nodes") };
    until_whole(&[a, b], PATIENCE).await?;
    until_whole(&[c, d], PATIENCE).await?;
    for (number, node) in mesh.nodes.iter().enumerate() {
        owed.acked.extend(node.http()?.publish_numbered("half", &format!("h{number}"), 0..300, 50).await?);
    }
    mesh.add(&[1, 2], &[]).await?;
    let whole = mesh.until_whole(PATIENCE).await?;
    scale::say(&format!("two halves are one mesh {whole:?} after the node that joins them was ready"));
    publish_ends(&mesh, &mut owed).await?;
    ensure_everywhere(&mesh, &owed).await?;
    mesh.stop().await
}
