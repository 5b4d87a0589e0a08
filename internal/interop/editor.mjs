// Drives the YAML language server, as an editor does, over docs/pipe.schema.json: the
// shipped pipelines have no alarm, mistakes do, and hovering and completion know every
// kind, port and parameter. Usage: node editor.mjs SERVER ROOT
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [server, root] = process.argv.slice(2);
const schema = JSON.parse(readFileSync(join(root, 'docs/pipe.schema.json')));
const schemaURL = pathToFileURL(resolve(root, 'docs/pipe.schema.json')).href;
let failures = 0;

function check(name, ok, detail = '') {
  console.log((ok ? 'ok    ' : 'FAIL  ') + name + (detail ? ': ' + detail : ''));
  if (!ok) failures++;
}

// Client speaks the language server protocol with the server over its standard streams.
class Client {
  waiting = new Map(); // of requests, by id
  published = new Map(); // of diagnostics, by document
  next = 1;
  buffer = Buffer.alloc(0);

  constructor(command) {
    this.process = spawn(process.execPath, [command, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdout.on('data', (chunk) => this.receive(chunk));
  }

  receive(chunk) {
    this.buffer = Buffer.concat([this.buffer, chunk]);
    for (;;) {
      const end = this.buffer.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/Content-Length: (\d+)/i.exec(this.buffer.subarray(0, end).toString())[1]);
      if (this.buffer.length < end + 4 + length) return;
      const message = JSON.parse(this.buffer.subarray(end + 4, end + 4 + length));
      this.buffer = this.buffer.subarray(end + 4 + length);
      this.handle(message);
    }
  }

  handle(message) {
    if (message.method === 'workspace/configuration') {
      const yaml = { schemas: { [schemaURL]: '*.yaml' }, validate: true, hover: true, completion: true, schemaStore: { enable: false }, kubernetesCRDStore: { enable: false } };
      this.send({ id: message.id, result: message.params.items.map((item) => (item.section === 'yaml' ? yaml : {})) });
    } else if (message.method === 'textDocument/publishDiagnostics') {
      this.published.get(message.params.uri)?.(message.params.diagnostics);
    } else if (message.method && message.id !== undefined) {
      this.send({ id: message.id, result: null });
    } else if (message.id !== undefined) {
      this.waiting.get(message.id)?.(message.result ?? message.error);
      this.waiting.delete(message.id);
    }
  }

  send(message) {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message });
    this.process.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }

  notify(method, params) {
    this.send({ method, params });
  }

  request(method, params) {
    const id = this.next++;
    this.send({ id, method, params });
    return new Promise((done, fail) => {
      this.waiting.set(id, done);
      setTimeout(() => fail(new Error(`no answer to ${method} within 30 s`)), 30000).unref();
    });
  }

  async start() {
    await this.request('initialize', {
      processId: process.pid,
      rootUri: pathToFileURL(resolve(root)).href,
      capabilities: { workspace: { configuration: true }, textDocument: { completion: { completionItem: { snippetSupport: true, documentationFormat: ['markdown'] } }, hover: { contentFormat: ['markdown'] } } },
    });
    this.notify('initialized', {});
    this.notify('workspace/didChangeConfiguration', { settings: {} });
  }

  // open shows the server a text and returns its document once it has been judged.
  async open(name, text) {
    const uri = pathToFileURL(resolve(root, 'pipelines', name)).href;
    const judged = new Promise((done, fail) => {
      this.published.set(uri, done);
      setTimeout(() => fail(new Error(`no diagnostics of ${name} within 30 s`)), 30000).unref();
    });
    this.notify('textDocument/didOpen', { textDocument: { uri, languageId: 'yaml', version: 1, text } });
    return { uri, text, alarms: await judged };
  }

  // hover returns what is shown over the first place of a text behind a mark.
  async hover(doc, after, text) {
    const answer = await this.request('textDocument/hover', { textDocument: { uri: doc.uri }, position: place(doc.text, after, text) });
    return answer?.contents?.value ?? '';
  }

  // complete returns the labels that are offered where ¦ stands in a text.
  async complete(name, marked) {
    const offset = marked.indexOf('¦');
    const doc = await this.open(name, marked.replace('¦', ''));
    const answer = await this.request('textDocument/completion', { textDocument: { uri: doc.uri }, position: positionOf(doc.text, offset) });
    return (answer?.items ?? answer ?? []).map((item) => item.label);
  }

  async stop() {
    await this.request('shutdown', null);
    this.notify('exit');
  }
}

function positionOf(text, offset) {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length - 1, character: before.at(-1).length };
}

function place(text, after, wanted) {
  const offset = text.indexOf(wanted, text.indexOf(after));
  if (offset < 0) throw new Error(`${wanted} does not stand behind ${after}`);
  return positionOf(text, offset + 1);
}

const shipped = readFileSync(join(root, 'pipelines/mistral-behaviors.yaml'), 'utf8').replace(/^# yaml-language-server.*\n/, '');

async function validFiles(client) {
  for (const name of readdirSync(join(root, 'pipelines')).filter((n) => n.endsWith('.yaml'))) {
    const doc = await client.open(name, readFileSync(join(root, 'pipelines', name), 'utf8'));
    check(`no alarm at ${name}`, doc.alarms.length === 0, doc.alarms.map((a) => a.message).join('; '));
  }
  const doc = await client.open('references.yaml', `pipeline: references
params: { kind: command, rank: 8, wait: 2, bands: { healthy: { loss: [1, 2] } }, list: [a] }
profiles: { empty: , night: { params: { rank: 4 }, stages: { train-qlora: { with: { rank: "\${params.rank}", schedule: "\${params.kind}" } }, any: { with: { argv: [b] } } } } }
stages:
  any: { uses: "\${params.kind}", in: { x: "\${params.list}" }, out: [y], with: { argv: [a] } }
  copy: { uses: command, out: [y], with: { argv: "\${params.list}" }, publish: { y: "\${params.list}" } }
  normalize-compliments: { in: { data: x }, with: { templates: ["\${params.list}", b], seed: , refusal: } }
  train-qlora:
    in: { tokens: x, base: y }
    with: { rank: "\${params.rank}", schedule: linear, max_epochs: 2e0, time_budget: "\${params.wait}h", health: "\${params.bands}" }
  other:
    uses: train-qlora
    in: { tokens: x, base: y }
    with: { time_budget: 0, health: { healthy: { loss: ["\${params.rank}", 2], epoch: } } }
`);
  check('no alarm at references, nothing and profiles', doc.alarms.length === 0, doc.alarms.map((a) => `${a.range.start.line + 1}: ${a.message}`).join('; '));
}

// Each mistake is one edit of the shipped file, and what the alarm must say.
const mistakes = [
  ['a parameter of another kind', 'rank: 16', 'ranks: 16', /ranks/],
  ['a word for a number', 'rank: 16', 'rank: many', /integer/],
  ['a number below its bound', 'rank: 16', 'rank: 0', /minimum of 1/],
  ['a fraction for a whole number', 'warmup_steps: 12', 'warmup_steps: 1.5', /integer/],
  ['no such choice', 'schedule: linear', 'schedule: linaer', /constant/],
  ['a duration without a unit', 'time_budget: 24h', 'time_budget: 24', /0|pattern/],
  ['a list that is too short', 'loss: [0.08, 0.25]', 'loss: [0.08]', /few/],
  ['an unknown band', 'loss_below: 0.07', 'loss_under: 0.07', /loss_under/],
  ['an unknown port', 'suite: "${params.suite}"', 'suit: "${params.suite}"', /suit/],
  ['a port that is not connected', 'tokens: "${tokenize-and-mask.tokens}"\n', '', /tokens/],
  ['a required parameter', '    with: { templates: "${params.compliments}" }\n', '', /with/],
  ['an unknown output', 'best: { to', 'bets: { to', /bets/],
  ['an unknown key of a stage', 'publish:', 'publsh:', /publsh/],
  ['an unknown key of the file', 'params:\n  base', 'parms:\n  base', /parms/],
  ['a stage without a kind', '  quantize-base:\n    in', '  quantise-base:\n    in', /uses/],
  ['an unknown kind', '  quantize-base:\n    in', '  quantize-base:\n    uses: quantise-base\n    in', /quantize-base/],
  ['a parameter in a profile', 'save_steps: 100', 'save_stps: 100', /save_stps/],
  ['a value in a profile', 'on_overfit: warn\n          health', 'on_overfit: shout\n          health', /stop/],
];

async function brokenFiles(client) {
  let n = 0;
  for (const [name, from, to, want] of mistakes) {
    if (!shipped.includes(from)) throw new Error(`the shipped pipeline has no ${from}`);
    const doc = await client.open(`broken-${n++}.yaml`, shipped.replace(from, to));
    const line = positionOf(shipped, shipped.indexOf(from)).line;
    const messages = doc.alarms.map((a) => `line ${a.range.start.line + 1}: ${a.message.replaceAll('\n', ' ')}`);
    const near = doc.alarms.some((a) => want.test(a.message) && Math.abs(a.range.start.line - line) <= 4);
    check(`alarm at ${name}`, near, messages.join('; ').slice(0, 300));
  }
}

// everyParameter hovers over every parameter and port of every kind, and looks whether
// completion offers them all.
async function everyParameter(client) {
  let shown = 0;
  const missing = [];
  for (const kind of schema.$defs.uses.anyOf[0].enum) {
    const part = schema.$defs[kind + '-part'].properties;
    const lines = ['pipeline: x', 'stages:', '  s:', `    uses: ${kind}`];
    const keys = [];
    const list = (properties, indent) => {
      for (const [name, s] of Object.entries(properties)) {
        keys.push([name, s.description]);
        const inner = (s.anyOf ?? [s]).find((x) => x.properties);
        lines.push(`${indent}${name}:`);
        if (inner) list(inner.properties, indent + '  ');
      }
    };
    for (const section of ['in', 'with', 'publish']) {
      if (!part[section].properties) continue;
      lines.push(`    ${section}:`);
      list(part[section].properties, '      ');
      const offered = await client.complete(`complete-${kind}-${section}.yaml`, lines.slice(0, 4).join('\n') + `\n    ${section}:\n      ¦\n`);
      for (const name of Object.keys(part[section].properties)) {
        if (!offered.includes(name)) missing.push(`completion of ${kind}.${section}.${name}`);
      }
    }
    const doc = await client.open(`hover-${kind}.yaml`, lines.join('\n') + '\n');
    let from = 0;
    for (const [name, help] of keys) {
      from = doc.text.indexOf(` ${name}:`, from) + 1;
      const answer = await client.request('textDocument/hover', { textDocument: { uri: doc.uri }, position: positionOf(doc.text, from + 1) });
      const text = answer?.contents?.value ?? '';
      // Markdown escapes what would be markup.
      if (help && plainText(text).includes(plainText(help))) shown++;
      else missing.push(`hover of ${kind} ${name}: ${JSON.stringify(text)}`);
    }
  }
  check('hover and completion know every port and parameter', missing.length === 0, `${shown} shown` + missing.slice(0, 5).map((m) => '; no ' + m).join(''));
}

const plainText = (s) => s.replace(/\\(.)/g, '$1').replace(/&nbsp;/g, ' ').replace(/&(lt|gt|amp);/g, (_, c) => ({ lt: '<', gt: '>', amp: '&' })[c]).replace(/\s+/g, ' ');

async function hovering(client) {
  const doc = await client.open('hover.yaml', shipped);
  for (const [what, after, text, want] of [
    ['a stage', '\nstages:', 'train-qlora', /Trains a LoRA adapter/],
    ['a parameter', '\nstages:', 'warmup_steps', /rises from 0.*Default: .?20/s],
    ['a nested parameter', '\nstages:', 'loss_below', /Nats a token.*0\.3/s],
    ['a choice', '\nstages:', 'schedule: linear', /constant.*linear.*cosine/s],
    ['a port', '\nstages:', 'tokenizer:', /only its tokenizer is read. A folder/],
    ['a parameter in a profile', 'mistral-7b', 'save_total_limit', /checkpoints that are kept/i],
    ['a key of a stage', '\nstages:', 'publish', /path of the workspace/],
  ]) {
    const shown = await client.hover(doc, after, text);
    check(`hover over ${what}`, want.test(shown), JSON.stringify(shown).slice(0, 120));
  }
}

async function completing(client) {
  const kinds = schema.$defs.uses.anyOf[0].enum;
  for (const [what, text, wanted] of [
    ['kinds', 'pipeline: x\nstages:\n  a:\n    uses: ¦\n', kinds],
    ['stages by kind', 'pipeline: x\nstages:\n  ¦\n', kinds.filter((k) => k !== 'command')],
    ['keys of a stage', 'pipeline: x\nstages:\n  quantize-base:\n    ¦\n', ['uses', 'in', 'with', 'publish', 'resources']],
    ['choices', 'pipeline: x\nstages:\n  train-qlora:\n    with:\n      schedule: ¦\n', ['constant', 'linear', 'cosine']],
    ['booleans', 'pipeline: x\nstages:\n  quantize-base:\n    with:\n      double_quant: ¦\n', ['true', 'false']],
    ['nested parameters', 'pipeline: x\nstages:\n  train-qlora:\n    with:\n      health:\n        overfitting:\n          ¦\n', ['loss_below', 'epoch_above']],
    ['parameters in a profile', 'pipeline: x\nprofiles:\n  p:\n    stages:\n      train-qlora:\n        with:\n          ¦\nstages:\n  train-qlora:\n', ['rank', 'max_steps']],
    ['keys of the file', '¦\n', ['pipeline', 'params', 'profiles', 'stages']],
    ['keys of a publication', 'pipeline: x\nstages:\n  select-best:\n    publish:\n      best:\n        ¦\n', ['to']],
  ]) {
    const offered = await client.complete(`offer-${what.replaceAll(' ', '-')}.yaml`, text);
    const missing = wanted.filter((w) => !offered.includes(w));
    check(`completion of ${what}`, missing.length === 0, missing.length ? `not offered: ${missing}; offered: ${offered}` : `${wanted.length} offered`);
  }
}

const client = new Client(server);
await client.start();
await validFiles(client);
await brokenFiles(client);
await hovering(client);
await completing(client);
await everyParameter(client);
await client.stop();
process.exit(failures ? 1 : 0);
