// Draws the timeline: two lanes with the sound in them, keys below, and what happened between the
// lanes. While the call goes on the picture follows it; who moves it stops that.

import { byId, element, setText, svg } from './dom.js';
import { clock, median, span } from './format.js';
import { Timeline } from './timeline.js';

const SPANS_S = [5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
const FIRST_SPAN_S = { wide: 30, narrow: 20 };
const NARROW_PX = 480;
const GUTTER_PX = 48;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200];
const STEP_PX = 70;
const TICK_PX = 18;
const COLUMN_PX = 2;
const LANES = { user: { top: 4, height: 38 }, agent: { top: 64, height: 38 } };
const BETWEEN_PX = 53;
const CUTS_PX = 115;
const KEYS = { top: 122, height: 18, gap: 14 };
const LETTER_PX = 7.5;
const AXIS_PX = 158;
const HEIGHT_PX = 162;
const LIST_MS = 1000;

export class TimelineView {
  #timeline = new Timeline();
  #place = byId('timeline');
  #picture = svg('svg', { role: 'img', height: HEIGHT_PX, width: '100%' });
  #spanS = FIRST_SPAN_S.wide;
  #from = null; // ms of the page's clock; null follows the call
  #width = 600;
  #listedAt = -Infinity;

  constructor() {
    this.#place.append(this.#picture);
    byId('timeline-in').addEventListener('click', () => this.#zoom(-1));
    byId('timeline-out').addEventListener('click', () => this.#zoom(1));
    byId('timeline-follow').addEventListener('click', () => this.#follow());
    byId('timeline-list').addEventListener('toggle', () => this.#list());
    this.#place.addEventListener('keydown', (event) => this.#typed(event));
    drags(this.#place, (pixels) => this.#move(-pixels / this.#scale));
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.max(200, contentRect.width);
      this.draw(performance.now());
    }).observe(this.#place);
  }

  begin(timeline) {
    this.#timeline = timeline;
    this.#listedAt = -Infinity;
    this.#spanS = this.#width < NARROW_PX ? FIRST_SPAN_S.narrow : FIRST_SPAN_S.wide;
    this.#follow();
  }

  // The call is over: all of it at once.
  end(timeline) {
    this.begin(timeline);
    const { begun, ended } = timeline;
    if (begun === null) return; // there was none
    this.#spanS = SPANS_S.find((one) => one * 1000 >= ended - begun) ?? SPANS_S.at(-1);
    this.#set(begun);
  }

  draw(now) {
    const timeline = this.#timeline;
    const view = this.#view(now);
    this.#picture.replaceChildren(
      ...axis(view, timeline),
      ...lanes(view),
      ...spans(view, timeline),
      ...sounds(view, timeline),
      ...marks(view, timeline),
    );
    if (now - this.#listedAt >= LIST_MS) this.#describe(now);
  }

  // Pixels in a millisecond.
  get #scale() {
    return (this.#width - GUTTER_PX) / (this.#spanS * 1000);
  }

  // What is to be seen: `x` turns a time into pixels.
  #view(now) {
    const { begun, ended } = this.#timeline;
    const live = begun === null ? 0 : (ended ?? now);
    const from = this.#from ?? Math.max(begun ?? 0, live - this.#spanS * 980);
    const scale = this.#scale;
    const x = (at) => GUTTER_PX + (at - from) * scale;
    return { from, to: from + this.#spanS * 1000, now: live, scale, width: this.#width, x };
  }

  #describe(now) {
    this.#listedAt = now;
    const timeline = this.#timeline;
    const summary = timeline.summary(now);
    setText(byId('timeline-summary'), summary);
    this.#picture.setAttribute('aria-label', summary);
    const answers = timeline.responseMs;
    setText(byId('figure-last'), answers.length ? span(answers.at(-1)) : '–');
    setText(byId('figure-median'), answers.length ? span(median(answers)) : '–');
    setText(byId('figure-cuts'), String(timeline.interruptions.length));
    this.#list();
  }

  #list() {
    if (!byId('timeline-list').open) return;
    const { begun } = this.#timeline;
    const rows = this.#timeline.rows().map(({ at, what }) => {
      const time = element('time', { text: `${((at - begun) / 1000).toFixed(1)} s` });
      return element('li', {}, time, ' ', what);
    });
    const none = element('li', { text: 'Nothing yet.' });
    byId('timeline-rows').replaceChildren(...(rows.length ? rows : [none]));
  }

  #follow() {
    const { begun, ended } = this.#timeline;
    this.#set(ended === null ? null : Math.max(begun, ended - this.#spanS * 980));
  }

  #set(from) {
    this.#from = from;
    byId('timeline-follow').setAttribute('aria-pressed', String(from === null));
    this.draw(performance.now());
  }

  #move(ms) {
    const least = this.#timeline.begun;
    if (least === null) return;
    const { from, now } = this.#view(performance.now());
    this.#set(Math.min(Math.max(least, from + ms), Math.max(least, now - this.#spanS * 200)));
  }

  #zoom(by) {
    const { from, now } = this.#view(performance.now());
    const middle = from + this.#spanS * 500;
    const next = SPANS_S.indexOf(this.#spanS) + by;
    this.#spanS = SPANS_S[Math.min(Math.max(next, 0), SPANS_S.length - 1)];
    if (this.#from === null) this.draw(now);
    else this.#move(middle - this.#spanS * 500 - from);
  }

  #typed(event) {
    const step = this.#spanS * 200;
    const act = {
      ArrowLeft: () => this.#move(-step),
      ArrowRight: () => this.#move(step),
      Home: () => this.#move(-Infinity),
      End: () => this.#follow(),
      '+': () => this.#zoom(-1),
      '-': () => this.#zoom(1),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }
}

// Calls `moved` with the pixels that a pointer was dragged by; up and down still scroll the page.
function drags(node, moved) {
  let last = null;
  node.addEventListener('pointerdown', (event) => {
    last = event.clientX;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener('pointermove', (event) => {
    if (last === null || event.clientX === last) return;
    moved(event.clientX - last);
    last = event.clientX;
  });
  for (const end of ['pointerup', 'pointercancel']) {
    node.addEventListener(end, () => {
      last = null;
    });
  }
}

function axis({ from, to, scale, width, x }, timeline) {
  const begun = timeline.begun ?? 0;
  const stepS = STEPS_S.find((one) => one * 1000 * scale >= STEP_PX) ?? STEPS_S.at(-1);
  const parts = [];
  for (let s = Math.ceil((from - begun) / 1000 / stepS) * stepS; begun + s * 1000 <= to; s += stepS) {
    const at = x(begun + s * 1000);
    parts.push(svg('line', { class: 'grid', x1: at, x2: at, y1: 0, y2: AXIS_PX - 14 }));
    if (at > width - TICK_PX) continue; // half of it would be cut off
    parts.push(svg('text', { class: 'tick', x: at, y: AXIS_PX, 'text-anchor': 'middle', text: clock(s) }));
  }
  return parts;
}

function lanes({ width }) {
  const label = (y, text) => svg('text', { class: 'lane-label', x: 0, y, text });
  return [
    ...Object.entries(LANES).map(([who, { top, height }]) =>
      svg('rect', { class: `lane ${who}`, x: GUTTER_PX, y: top, width: width - GUTTER_PX, height, rx: 4 })),
    label(LANES.user.top + 23, 'You'),
    label(LANES.agent.top + 23, 'Agent'),
    label(KEYS.top + 13, 'Keys'),
  ];
}

function spans(view, timeline) {
  return ['user', 'agent'].flatMap((who) => {
    const { top, height } = LANES[who];
    return seen(view, timeline[who]).map((one) => {
      const [left, right] = ends(view, one);
      const title = svg('title', { text: `${clock((one.from - timeline.begun) / 1000)}` });
      const kind = one.cut ? `span ${who} cut` : `span ${who}`;
      const width = Math.max(2, right - left);
      return svg('rect', { class: kind, x: left, y: top, width, height, rx: 4 }, title);
    });
  });
}

// The sound itself, as an outline around the middle of its lane.
function sounds({ from, now, scale, width }, { levels }) {
  const columnMs = COLUMN_PX / scale;
  return ['user', 'agent'].map((who) => {
    const { top, height } = LANES[who];
    const middle = top + height / 2;
    const upper = [];
    const lower = [];
    for (let px = GUTTER_PX, at = from; px < width && at < now; px += COLUMN_PX, at += columnMs) {
      const half = Math.max(0.5, (levels[who].peak(at, at + columnMs) * height) / 2.2);
      upper.push(`${px} ${(middle - half).toFixed(1)}`);
      lower.unshift(`${px} ${(middle + half).toFixed(1)}`);
    }
    const d = upper.length ? `M${upper.join('L')}L${lower.join('L')}Z` : '';
    return svg('path', { class: `sound ${who}`, d });
  });
}

function marks(view, timeline) {
  return [
    ...timeline.answers.flatMap((one) => answerMark(view, one)),
    ...timeline.interruptions.flatMap((one, index, all) => cutMark(view, one, all[index + 1])),
    ...keyMarks(view, timeline.keys),
  ];
}

function cutMark({ x, width }, one, next) {
  const at = x(one.to);
  if (at < GUTTER_PX || at > width) return [];
  const { top, height } = LANES.agent;
  const heard = span(one.heardMs ?? one.to - one.from);
  const title = svg('title', { text: `Interrupted: the voice stopped after ${heard}` });
  const room = Math.min(width, next ? x(next.to) : Infinity) - at;
  const text = [`stopped at ${heard}`, heard].find((words) => words.length * LETTER_PX <= room);
  return [
    svg('line', { class: 'cut-line', x1: at, x2: at, y1: LANES.user.top, y2: CUTS_PX }, title),
    svg('path', { class: 'cut-end', d: `M${at} ${top + height + 5}l4-5h-8z` }),
    svg('text', { class: 'cut-label', x: at + 5, y: CUTS_PX, text: text ?? '' }),
  ];
}

function answerMark({ x, width }, { from, to, ms }) {
  const [left, right] = [x(from), x(to)];
  if (right < GUTTER_PX || left > width) return [];
  const start = Math.max(GUTTER_PX, left);
  const d = `M${start} ${LANES.user.top + LANES.user.height}V${BETWEEN_PX}H${right}V${LANES.agent.top}`;
  return [
    svg('path', { class: 'answer', d }),
    svg('text', { class: 'answer-label', x: right + 5, y: BETWEEN_PX + 4, text: span(ms) }),
  ];
}

// Keys that were pressed in a row share a mark, where they would cover each other.
function keyMarks({ x, width }, keys) {
  const groups = [];
  for (const { at, key } of keys) {
    const last = groups.at(-1);
    if (last && x(at) - last.end < KEYS.gap) {
      last.text += key;
      last.end = Math.max(x(at), last.start + last.text.length * LETTER_PX);
    } else {
      groups.push({ start: x(at), end: x(at) + LETTER_PX, text: key });
    }
  }
  const { top, height } = KEYS;
  return groups.filter(({ start, end }) => end >= GUTTER_PX && start <= width).flatMap(({ start, text }) => {
    const wide = text.length * LETTER_PX + 10;
    return [
      svg('rect', { class: 'key-mark', x: start - 5, y: top, width: wide, height, rx: 4 }),
      svg('text', { class: 'key-text', x: start, y: top + 13, text }),
    ];
  });
}

function seen({ from, to, now }, list) {
  return list.filter((one) => (one.to ?? now) >= from && one.from <= to);
}

// In pixels, without what is out of sight.
function ends({ x, width, now }, one) {
  return [Math.max(GUTTER_PX, x(one.from)), Math.min(width, x(one.to ?? now))];
}
