// The server's answers as objects. A refusal is an Error with the server's reason.

async function ask(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Error('The command in the terminal has ended. Start it again and open the new address.');
  }
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.error);
  return content;
}

export const get = path => ask(path);
export const post = (path, content) =>
  ask(path, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(content)});
