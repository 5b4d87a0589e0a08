'use strict';
(() => {
  const graph = JSON.parse(document.getElementById('graph').textContent);
  const svg = document.querySelector('#canvas svg');
  const boxes = [...svg.querySelectorAll('.node')];
  const lines = [...svg.querySelectorAll('.edge, .label')].map(e => ({ e, from: +e.dataset.from, to: +e.dataset.to }));
  const byId = id => document.getElementById(id);
  const number = new Map(graph.nodes.map((n, i) => [n.stage, i]));
  const sources = graph.nodes.map(() => new Set()), readers = graph.nodes.map(() => new Set());
  for (const e of graph.edges) {
    sources[number.get(e.to)].add(number.get(e.from));
    readers[number.get(e.from)].add(number.get(e.to));
  }

  // The view: what part of the drawing is seen.
  const whole = svg.viewBox.baseVal;
  const all = { x: 0, y: 0, w: whole.width, h: whole.height };
  let view = { ...all };
  const pixel = () => Math.max(view.w / svg.clientWidth, view.h / svg.clientHeight); // of the drawing, per pixel
  function look(v) {
    const w = Math.min(Math.max(v.w, 80), all.w * 4), f = w / v.w;
    view = { x: v.x, y: v.y, w, h: v.h * f };
    svg.setAttribute('viewBox', `${view.x} ${view.y} ${view.w} ${view.h}`);
  }
  function point(x, y) {
    const p = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM().inverse());
    return { x: p.x, y: p.y };
  }
  function zoom(f, at = { x: view.x + view.w / 2, y: view.y + view.h / 2 }) {
    f = Math.min(Math.max(view.w * f, 80), all.w * 4) / view.w;
    look({ x: at.x - (at.x - view.x) * f, y: at.y - (at.y - view.y) * f, w: view.w * f, h: view.h * f });
  }
  const move = (dx, dy) => look({ ...view, x: view.x + dx, y: view.y + dy });

  const places = boxes.map(b => {
    const t = b.transform.baseVal[0].matrix, p = b.parentNode.transform.baseVal[0].matrix, r = b.querySelector('.box');
    const w = r.width.baseVal.value, h = r.height.baseVal.value;
    return { x: t.e + p.e + w / 2, y: t.f + p.f + h / 2, w, h };
  });
  // approach brings a box into sight, and close enough to be read.
  function approach(i, close) {
    const p = places[i];
    if (close || pixel() > 1.4) zoom(1 / pixel());
    const seen = point(svg.getBoundingClientRect().left, svg.getBoundingClientRect().top);
    const w = svg.clientWidth * pixel(), h = svg.clientHeight * pixel();
    const inside = p.x - p.w / 2 > seen.x && p.x + p.w / 2 < seen.x + w && p.y - p.h / 2 > seen.y && p.y + p.h / 2 < seen.y + h;
    if (close || !inside) look({ ...view, x: p.x - view.w / 2, y: p.y - view.h / 2 });
  }

  // What is chosen, pointed at, searched for.
  let chosen = -1, current = 0, state = null;
  function closure(i, next, into) {
    const stack = [i];
    for (let n; (n = stack.pop()) !== undefined;) {
      for (const m of next[n]) if (!into.has(m)) { into.add(m); stack.push(m); }
    }
    return into;
  }
  // light shows the way to a stage and from it; of none, what was searched for.
  function light(i) {
    const hits = matches();
    const some = i >= 0 || hits.length < boxes.length;
    const up = i >= 0 ? closure(i, sources, new Set([i])) : new Set(), down = i >= 0 ? closure(i, readers, new Set([i])) : new Set();
    const lit = i >= 0 ? new Set([...up, ...down]) : new Set(hits);
    svg.classList.toggle('faded', some);
    boxes.forEach((b, n) => {
      b.classList.toggle('lit', lit.has(n));
      b.classList.toggle('chosen', n === chosen);
      b.classList.toggle('found', hits.length < boxes.length && hits.includes(n));
    });
    for (const l of lines) {
      l.e.classList.toggle('lit', i >= 0 ? (up.has(l.from) && up.has(l.to)) || (down.has(l.from) && down.has(l.to)) : lit.has(l.from) && lit.has(l.to));
    }
  }
  function matches() {
    const words = byId('search').value.toLowerCase().split(/\s+/).filter(Boolean);
    return graph.nodes.map((n, i) => i).filter(i => {
      const n = graph.nodes[i], text = [n.stage, n.kind, n.state, n.why, ...Object.values(n.matrix || {})].join(' ').toLowerCase();
      return (state === null || (n.state || '') === state) && words.every(w => text.includes(w));
    });
  }
  function choose(i, { close = false, focus = false } = {}) {
    chosen = i;
    if (i >= 0) {
      boxes[current].setAttribute('tabindex', -1);
      current = i;
      boxes[i].setAttribute('tabindex', 0);
      approach(i, close);
      if (focus) boxes[i].focus({ preventScroll: true });
    }
    boxes.forEach((b, n) => b.setAttribute('aria-pressed', n === i));
    light(i);
    tell(i);
    list();
    history.replaceState(null, '', i < 0 ? '#' : '#' + encodeURIComponent(graph.nodes[i].stage));
  }

  // What is said beside the drawing.
  function make(name, text, attributes = {}) {
    const e = document.createElement(name);
    if (text !== undefined) e.textContent = text;
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    return e;
  }
  function stageButton(i, text) {
    const b = make('button', text || graph.nodes[i].stage, { type: 'button', class: 'to' });
    b.addEventListener('click', () => choose(i));
    return b;
  }
  const time = t => new Date(t).toLocaleString();
  function seconds(s) {
    if (s < 1) return Math.round(s * 1000) + ' ms';
    if (s < 60) return s.toFixed(1) + ' s';
    const m = Math.floor(s / 60);
    return m < 60 ? `${m}m${String(Math.floor(s % 60)).padStart(2, '0')}s` : `${Math.floor(m / 60)}h${String(m % 60).padStart(2, '0')}m`;
  }
  function size(n) {
    const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
    let u = 0;
    while (n >= 999.5 && u < units.length - 1) { n /= 1000; u++; }
    return (u && n < 99.5 ? n.toPrecision(n < 9.95 ? 2 : 3) : Math.round(n)) + ' ' + units[u];
  }
  function tell(i) {
    const detail = byId('detail');
    detail.replaceChildren();
    detail.hidden = i < 0;
    if (i < 0) return;
    const n = graph.nodes[i], dl = make('dl');
    const row = (name, what, attributes) => {
      const dd = make('dd', undefined, attributes);
      for (const w of [].concat(what)) {
        const div = make('div');
        div.append(w);
        dd.append(div);
      }
      dl.append(make('dt', name), dd);
    };
    if (n.state) row('state', n.state);
    if (n.why) row('why', n.why, { id: 'why' });
    row('kind', n.kind);
    if (n.matrix) row('matrix', Object.entries(n.matrix).map(([name, value]) => `${name} = ${value}`));
    if (n.made) row(n.state === 'cached' ? 'made' : 'last made', `${time(n.made.time)}, in ${seconds(n.made.seconds)}`);
    if (n.last) row('last run', `${n.last.outcome}, ${time(n.last.time)}${n.last.why ? ': ' + n.last.why : ''} (${n.last.run})`);
    if (n.key) row('key', n.key, { class: 'key' });
    const reads = graph.edges.filter(e => e.to === n.stage).map(e => stageButton(number.get(e.from), `${e.to_port} ← ${e.from}.${e.from_port}`));
    for (const s of n.sources || []) reads.push(`${s.port} ← ${s.source}`);
    if (reads.length) row('reads', reads);
    if (n.outputs) row('makes', n.outputs.map(o => o.port + (o.digest ? `, ${size(o.size || 0)}, ${o.digest.slice(0, 12)}` : '')));
    const goes = graph.edges.filter(e => e.from === n.stage).map(e => stageButton(number.get(e.to), `${e.from_port} → ${e.to}.${e.to_port}`));
    if (goes.length) row('read by', goes);
    if (n.publish) row('publishes', n.publish.map(p => `${p.port} at ${p.to}${p.decision ? ' (' + p.decision + ')' : ''}`));
    detail.append(make('h2', n.stage), dl);
  }
  function list() {
    const hits = matches();
    byId('count').textContent = hits.length === boxes.length ? `${boxes.length} stages` : `${hits.length} of ${boxes.length} stages`;
    byId('list').replaceChildren(...hits.map(i => {
      const n = graph.nodes[i], li = make('li'), b = make('button', n.stage, { type: 'button', 'aria-current': i === chosen });
      const second = [n.state, n.state === 'cached' ? '' : n.why].filter(Boolean).join(': ');
      if (second) b.append(make('small', second));
      b.addEventListener('click', () => choose(i));
      li.append(b);
      return li;
    }));
    return hits;
  }
  const kinds = new Map();
  for (const n of graph.nodes) kinds.set(n.state || '', (kinds.get(n.state || '') || 0) + 1);
  if (kinds.size > 1) {
    for (const [name, count] of kinds) {
      const b = make('button', `${count} ${name || 'unknown'}`, { type: 'button', 'aria-pressed': false });
      b.addEventListener('click', () => {
        state = state === name ? null : name;
        for (const other of byId('states').children) other.setAttribute('aria-pressed', other === b && state !== null);
        list();
        light(chosen);
      });
      byId('states').append(b);
    }
  }
  byId('when').textContent = graph.file + (graph.time ? ', as of ' + time(graph.time) : '');

  // Pointers.
  const fingers = new Map();
  let moved = false;
  svg.addEventListener('pointerdown', e => {
    if (e.button === 0) fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    moved = false;
  });
  addEventListener('pointermove', e => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    if (!moved && Math.hypot(e.clientX - before.x, e.clientY - before.y) < 4) return;
    moved = true;
    svg.classList.add('dragged');
    const others = [...fingers].filter(([id]) => id !== e.pointerId).map(([, p]) => p);
    if (others.length) {
      const o = others[0], was = Math.hypot(before.x - o.x, before.y - o.y), is = Math.hypot(e.clientX - o.x, e.clientY - o.y);
      zoom(was / Math.max(is, 1), point(o.x, o.y));
    } else {
      move((before.x - e.clientX) * pixel(), (before.y - e.clientY) * pixel());
    }
    fingers.set(e.pointerId, { x: e.clientX, y: e.clientY });
  });
  for (const type of ['pointerup', 'pointercancel']) {
    addEventListener(type, e => { fingers.delete(e.pointerId); svg.classList.remove('dragged'); });
  }
  svg.addEventListener('wheel', e => {
    e.preventDefault();
    const unit = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? svg.clientHeight : 1;
    if (e.ctrlKey || e.metaKey) zoom(Math.exp(e.deltaY * unit * 0.004), point(e.clientX, e.clientY));
    else move((e.shiftKey ? e.deltaY : e.deltaX) * unit * pixel(), (e.shiftKey ? 0 : e.deltaY) * unit * pixel());
  }, { passive: false });
  svg.addEventListener('click', e => {
    if (moved) return;
    const box = e.target.closest('.node');
    choose(box ? +box.dataset.n : -1, { focus: Boolean(box) });
  });
  svg.addEventListener('dblclick', e => {
    const box = e.target.closest('.node');
    if (box) approach(+box.dataset.n, true); else zoom(0.5, point(e.clientX, e.clientY));
  });
  boxes.forEach((b, i) => {
    b.addEventListener('pointerenter', e => { if (e.pointerType === 'mouse' && !fingers.size && chosen < 0) light(i); });
    b.addEventListener('pointerleave', () => light(chosen));
    const n = graph.nodes[i];
    b.setAttribute('role', 'button');
    b.setAttribute('tabindex', i ? -1 : 0);
    b.setAttribute('aria-label', [n.stage, n.state, n.why].filter(Boolean).join(', '));
  });
  svg.setAttribute('role', 'group');
  byId('closer').addEventListener('click', () => zoom(0.7));
  byId('further').addEventListener('click', () => zoom(1 / 0.7));
  byId('whole').addEventListener('click', () => look({ ...all }));

  // Keys.
  const search = byId('search');
  search.addEventListener('input', () => { list(); light(chosen = -1); tell(-1); });
  search.addEventListener('keydown', e => {
    if (e.key !== 'Enter') return;
    const hits = matches(), next = hits.find(i => i > chosen) ?? hits[0];
    if (next !== undefined) choose(next, { close: true });
  });
  // beside is the nearest box in a direction, straight ahead rather than aside.
  function beside(dx, dy) {
    const from = places[current];
    let best = -1, least = Infinity;
    places.forEach((p, i) => {
      const ahead = (p.x - from.x) * dx + (p.y - from.y) * dy, aside = Math.abs((p.x - from.x) * dy) + Math.abs((p.y - from.y) * dx);
      if (ahead > 1 && ahead + 2 * aside < least) { best = i; least = ahead + 2 * aside; }
    });
    return best;
  }
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  addEventListener('keydown', e => {
    if (e.key === 'Escape') {
      search.value = '';
      choose(-1);
      return;
    }
    if (e.target === search || e.ctrlKey || e.metaKey || e.altKey) return;
    const onBox = Boolean(e.target.closest && e.target.closest('.node'));
    if (e.key === '/') search.focus();
    else if (e.key === '+' || e.key === '=') zoom(0.7);
    else if (e.key === '-') zoom(1 / 0.7);
    else if (e.key === '0') look({ ...all });
    else if (ways[e.key] && onBox) {
      const next = beside(...ways[e.key]);
      if (next >= 0) choose(next, { focus: true });
    } else if ((e.key === 'Enter' || e.key === ' ') && onBox) choose(current, { close: e.key === 'Enter', focus: true });
    else return;
    e.preventDefault();
  });

  list();
  const asked = graph.nodes.findIndex(n => '#' + encodeURIComponent(n.stage) === location.hash);
  if (asked >= 0) choose(asked, { close: true });
})();
