// SPDX-License-Identifier: Apache-2.0
// Decoder of scene streams (docs/stream_format.md) in plain JavaScript, for browsers and node.
// Whole numbers below 2^53 only, until values() makes float32 of them: bit for bit what
// igs_ros/io/stream makes in Python.
'use strict';
(() => {
  const CONTEXTS = 36, UNARY = 14, PREFIX = 20, CLASSES = 6, BITS = 21, MIDDLE = 1 << 20;
  const REACH = 2 ** 23, MAX_U = 65536, TURN = 16384, MAX_TURN = 4 * TURN, MAX_COLOR = 2 ** 20;
  const LEAST = 16, MOST = 4092, PART_HEADER = 10, TERMS = [0, 9, 24, 45];
  const STEPS = Array.from({ length: 64 }, (_, e) => Math.floor(2 ** (e / 4) + 0.5));
  const over = (a, b) => { // floor(a / b), exactly; b > 0
    let q = Math.floor(a / b);
    const rest = a - q * b;
    if (rest < 0) q--; else if (rest >= b) q++;
    return q;
  };
  const rounded = (a, b) => over(2 * a + b, 2 * b);
  const clip = (x, low, high) => x < low ? low : x > high ? high : x;
  class Damaged extends Error {}
  const expect = (holds, what) => { if (!holds) throw new Damaged(what); };

  // range coder
  class Range {
    constructor(data) {
      this.data = data; this.code = 0; this.span = 0xFFFFFFFF; this.next = 4;
      for (let i = 0; i < 4; i++) this.code = this.code * 256 + (i < data.length ? data[i] : 0);
    }
    fill() {
      while (this.span < 16777216) {
        this.span = (this.span << 8) >>> 0;
        this.code = ((this.code << 8) | (this.next < this.data.length ? this.data[this.next] : 0)) >>> 0;
        this.next++;
      }
    }
    bit(odds, at) {
      const fast = odds[2 * at], slow = odds[2 * at + 1];
      const bound = (this.span >>> 15) * clip((fast + slow) >> 2, 32, 32736);
      let bit = 0;
      if (this.code < bound) {
        this.span = bound;
        odds[2 * at] = fast + ((65535 - fast) >> 4); odds[2 * at + 1] = slow + ((65535 - slow) >> 7);
      } else {
        bit = 1; this.code -= bound; this.span -= bound;
        odds[2 * at] = fast - (fast >> 4); odds[2 * at + 1] = slow - (slow >> 7);
      }
      if (this.span < 16777216) this.fill();
      return bit;
    }
    raw(bits) {
      let value = 0;
      for (let i = 0; i < bits; i++) {
        this.span >>>= 1; value *= 2;
        if (this.code >= this.span) { this.code -= this.span; value++; }
        if (this.span < 16777216) this.fill();
      }
      return value;
    }
    int(odds, base) {
      if (!this.bit(odds, base)) return 0;
      const negative = this.bit(odds, base + 1);
      let size = 0;
      for (let i = 0; i < UNARY; i++) if (!this.bit(odds, base + 2 + i)) { size = i + 1; break; }
      if (!size) {
        let length = 0;
        while (this.bit(odds, base + 2 + UNARY + length)) expect(++length < PREFIX, 'numbers');
        size = 2 ** length + this.raw(length) + UNARY;
      }
      return negative ? -size : size;
    }
  }
  const even = count => new Uint16Array(2 * count).fill(32768);

  function table(data, near, rows, columns) {
    const width = rows ? near.length / rows : 0, out = new Int32Array(rows * columns);
    const odds = even(columns * CLASSES * 3 * CONTEXTS), range = new Range(data);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      let total = 0, count = 0;
      for (let k = 0; k < width; k++) {
        const other = near[row * width + k];
        if (other >= 0) { total += Math.abs(out[other * columns + column]); count++; }
      }
      const twice = count ? Math.floor(2 * total / count) : 0;
      const group = !count ? 3 : !total ? 0 : twice < 1 ? 1 : twice < 2 ? 2 : twice < 5 ? 3 : twice < 12 ? 4 : 5;
      const before = column ? (out[row * columns + column - 1] ? 2 : 1) : 0;
      out[row * columns + column] = range.int(odds, ((column * CLASSES + group) * 3 + before) * CONTEXTS);
    }
    return out;
  }
  function flags(data, near, before) {
    const rows = before.length, width = rows ? near.length / rows : 3, out = new Uint8Array(rows);
    const odds = even((width + 1) ** 2 * 6), range = new Range(data);
    let last = 0;
    for (let row = 0; row < rows; row++) {
      let total = 0, count = 0;
      for (let k = 0; k < width; k++) {
        const other = near[row * width + k];
        if (other >= 0) { total += out[other]; count++; }
      }
      last = out[row] = range.bit(odds, ((count * (width + 1) + total) * 3 + before[row]) * 2 + last);
    }
    return out;
  }
  function trees(data, bits, kinds) {
    const out = new Int32Array(bits.length), odds = even(2 * 3 * 9 * 256), range = new Range(data);
    for (let i = 0; i < bits.length; i++) {
      const base = ((kinds[Math.floor(i / 3)] * 3 + i % 3) * 9 + bits[i]) * 256;
      let node = 1;
      for (let k = 0; k < bits[i]; k++) node = 2 * node + range.bit(odds, base + node);
      out[i] = node - (1 << bits[i]);
    }
    return out;
  }

  // positions
  // A node is its cell of a level; nodes are sorted along the Morton curve, x the lowest bit.
  const spread = value => { // 11 bits -> every third
    let out = 0;
    for (let k = 0; k < 11; k++) out += ((value >> k) & 1) * 2 ** (3 * k);
    return out;
  };
  const SPREAD = Float64Array.from({ length: 2048 }, (_, value) => spread(value));
  const high = (x, y, z) => SPREAD[x >> 11] + 2 * SPREAD[y >> 11] + 4 * SPREAD[z >> 11];
  const low = (x, y, z) => SPREAD[x & 2047] + 2 * SPREAD[y & 2047] + 4 * SPREAD[z & 2047];
  function octree(data, count) {
    const range = new Range(data), odds = even(256), more = even(8);
    let cells = new Int32Array(3), nodes = 1;
    for (let level = 0; level < BITS; level++) {
      const size = 2 ** level, children = new Int32Array(3 * count), maps = new Map();
      for (let i = 0; i < nodes; i++) {
        const key = cells[3 * i] * 2097152 + cells[3 * i + 1];
        let column = maps.get(key);
        if (!column) maps.set(key, column = new Set());
        column.add(cells[3 * i + 2]);
      }
      const holds = (x, y, z) => { const column = maps.get(x * 2097152 + y); return column !== undefined && column.has(z) ? 1 : 0; };
      const deep = 8 * nodes > count ? 1 : 0;
      let found = 0;
      for (let i = 0; i < nodes; i++) {
        const x = cells[3 * i], y = cells[3 * i + 1], z = cells[3 * i + 2];
        const faces = [x > 0 ? holds(x - 1, y, z) : 0, x + 1 < size ? holds(x + 1, y, z) : 0,
          y > 0 ? holds(x, y - 1, z) : 0, y + 1 < size ? holds(x, y + 1, z) : 0,
          z > 0 ? holds(x, y, z - 1) : 0, z + 1 < size ? holds(x, y, z + 1) : 0];
        let siblings = 0;
        for (let octant = 0; octant < 8; octant++) {
          let bit = 1;
          if (octant < 7 || siblings) {
            const touching = faces[octant & 1] + faces[2 + (octant >> 1 & 1)] + faces[4 + (octant >> 2)];
            bit = range.bit(odds, ((deep * 4 + touching) * 8 + octant) * 4 + Math.min(siblings, 3));
          }
          if (bit) {
            expect(found < count, 'positions');
            children[3 * found] = 2 * x + (octant & 1);
            children[3 * found + 1] = 2 * y + (octant >> 1 & 1);
            children[3 * found + 2] = 2 * z + (octant >> 2);
            found++;
          }
          siblings += bit;
        }
      }
      cells = children; nodes = found;
    }
    const out = new Int32Array(3 * count);
    let filled = 0;
    for (let i = 0; i < nodes; i++) for (let same = 0; ; same++) {
      expect(filled < count, 'positions');
      for (let axis = 0; axis < 3; axis++) out[3 * filled + axis] = cells[3 * i + axis];
      filled++;
      if (!range.bit(more, Math.min(same, 7))) break;
    }
    expect(filled === count, 'positions');
    return out;
  }

  // what is near
  function nearest(positions, colors, rows, window, count) {
    const near = new Int32Array(rows * count).fill(-1), best = new Float64Array(count);
    const weight = colors ? 5 : 1;
    for (let row = 0; row < rows; row++) {
      best.fill(2 ** 62);
      const x = positions[3 * row], y = positions[3 * row + 1], z = positions[3 * row + 2];
      for (let other = Math.max(0, row - window); other < row; other++) {
        const dx = x - positions[3 * other], dy = y - positions[3 * other + 1], dz = z - positions[3 * other + 2];
        let apart = weight * (dx * dx + dy * dy + dz * dz);
        if (apart >= best[count - 1]) continue;
        if (colors) {
          const r = colors[3 * row] - colors[3 * other], g = colors[3 * row + 1] - colors[3 * other + 1], b = colors[3 * row + 2] - colors[3 * other + 2];
          apart += r * r + g * g + b * b;
          if (apart >= best[count - 1]) continue;
        }
        let place = count - 1;
        for (; place > 0 && best[place - 1] > apart; place--) {
          best[place] = best[place - 1];
          near[row * count + place] = near[row * count + place - 1];
        }
        best[place] = apart; near[row * count + place] = other;
      }
    }
    return near;
  }
  const before = (positions, rows) => nearest(positions, null, rows, 48, 3);
  function summedUp(sent, near, steps, rows, columns, limit) {
    const width = near ? near.length / rows : 0, values = new Float64Array(rows * columns);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      const at = row * columns + column, step = steps[at];
      let total = 0, count = 0;
      for (let k = 0; k < width; k++) {
        const other = near[row * width + k];
        if (other >= 0) { total += values[other * columns + column]; count++; }
      }
      count *= step;
      values[at] = step * (sent[at] + (count ? over(2 * total + count, 2 * count) : 0));
      expect(Math.abs(values[at]) <= limit, 'numbers');
    }
    return values;
  }

  // steps
  function quarterLog(value) {
    let bits = 0;
    for (let rest = value; rest >= 2; rest = Math.floor(rest / 2)) bits++;
    const mantissa = bits > 15 ? Math.floor(value / 2 ** (bits - 15)) : value * 2 ** (15 - bits);
    return 4 * bits + (mantissa >= 38968) + (mantissa >= 46341) + (mantissa >= 55109);
  }
  const stepOf = (exponent, low, high) => STEPS[clip(exponent, low, high)];
  const positionStep = quality => stepOf(37 - quality, 12, 63);
  const scaleStep = quality => stepOf(41 - quality, 0, 63);
  const sizeOf = u => u + Math.floor(u * u * u / 33554432);
  const sizes = (scales, row) => [sizeOf(scales[3 * row]), sizeOf(scales[3 * row + 1]), sizeOf(scales[3 * row + 2])].sort((a, b) => b - a);
  const sizeLog = (scales, row) => { const s = sizes(scales, row); return quarterLog(s[0] * s[1] + 524 * 524) >> 1; };
  const opacityStep = (scales, row, quality) => stepOf(85 - quality - sizeLog(scales, row), 17, 40);
  function lumas(scales, opacity, row, quality) {
    const seen = sizeLog(scales, row) + quarterLog(Math.max(opacity, 614));
    return [stepOf(124 - quality - seen, 17, 47), stepOf(128 - quality - seen, 17, 47)];
  }
  const chroma = luma => stepOf(quarterLog(Math.max(luma, 1)) + 6, 0, 63);
  function colorSteps(luma, terms, out, at) {
    const wide = chroma(luma);
    for (let term = 0; term < terms; term++) { out[at + 3 * term] = luma; out[at + 3 * term + 1] = out[at + 3 * term + 2] = wide; }
  }
  function rotationBits(scales, rows, quality) {
    const bits = new Int32Array(3 * rows), needles = new Uint8Array(rows);
    for (let row = 0; row < rows; row++) {
      const [long, middle, short] = sizes(scales, row), needle = long - middle > middle - short;
      const tilt = needle ? 2 * long - middle - short : long + middle - 2 * short;
      const turn = needle ? middle - short : long - middle;
      const pole = quarterLog(Math.max(Math.floor(tilt / 2), 1)) - (38 - quality) + 3;
      const angle = quarterLog(Math.max(turn, 1)) - (38 - quality) + 7;
      bits[3 * row] = bits[3 * row + 1] = clip((pole + 3) >> 2, 0, 8);
      bits[3 * row + 2] = clip((angle + 3) >> 2, 0, 8);
      needles[row] = needle ? 1 : 0;
    }
    return [bits, needles];
  }

  // rotations
  function root(value) {
    let found = Math.floor(Math.sqrt(value));
    while (found * found > value) found--;
    while ((found + 1) * (found + 1) <= value) found++;
    return found;
  }
  function unit(w, x, y, z) {
    const length = Math.max(root((w * w + x * x + y * y + z * z) * 256), 1), by = TURN * 16;
    return [rounded(w * by, length), rounded(x * by, length), rounded(y * by, length), rounded(z * by, length)];
  }
  function tangent(share, bits) {
    const at = Math.floor(Math.abs(share) * TURN / 2 ** bits);
    const size = Math.floor(at * (12868 + Math.floor(3516 * at * at / 268435456)) / 16384);
    return share >= 0 ? size : -size;
  }
  function rotationOf(first, second, turnCell, poleBits, turnBits, needle) {
    const a = 2 * first + 1 - 2 ** poleBits, b = 2 * second + 1 - 2 ** poleBits;
    const u = a + b, v = a - b, up = 2 * 2 ** poleBits - Math.abs(u) - Math.abs(v);
    const length = root((u * u + v * v + up * up) * 1048576), by = TURN * 1024;
    const px = rounded(u * by, length), py = rounded(v * by, length), pz = rounded(up * by, length);
    const turn = tangent(2 * turnCell + 1 - 2 ** turnBits, turnBits), top = TURN + pz;
    let w = top, x = rounded(-py * TURN + px * turn, TURN), y = rounded(px * TURN + py * turn, TURN), z = rounded(top * turn, TURN);
    if (needle) [w, x, y, z] = [w + x + y + z, -w + x - y + z, -w + x + y - z, -w - x + y + z];
    return unit(w, x, y, z);
  }
  const by17 = value => Math.floor(value / 131072);
  function snappedRotation(quat, poleBits, turnBits, needle) {
    let [w, x, y, z] = quat;
    if (needle) [w, x, y, z] = [w - x - y - z, w + x + y - z, w - x + y + z, w + x - y + z];
    let px = 2 * (x * z + w * y), py = 2 * (y * z - w * x), pz = w * w - x * x - y * y + z * z;
    if (pz < 0) { px = -px; py = -py; pz = -pz; }
    const width = 2 * Math.max(Math.abs(px) + Math.abs(py) + pz, 1), last = 2 ** poleBits - 1;
    const cell = side => clip(over((width / 2 + px + side) * 2 ** poleBits, width), 0, last);
    const first = cell(py), second = cell(-py);
    const [p, q, r, s] = rotationOf(first, second, 0, poleBits, 0, 0);
    const a = [by17(w * w + x * x - y * y - z * z), by17(2 * (x * y + w * z)), by17(2 * (x * z - w * y))];
    const t = [by17(p * p + q * q - r * r - s * s), by17(2 * (q * r + p * s)), by17(2 * (q * s - p * r))];
    const u = [by17(2 * (q * r - p * s)), by17(p * p - q * q + r * r - s * s), by17(2 * (r * s + p * q))];
    let along = a[0] * t[0] + a[1] * t[1] + a[2] * t[2], across = a[0] * u[0] + a[1] * u[1] + a[2] * u[2];
    if (along < 0) { along = -along; across = -across; }
    const half = rounded(across * TURN, Math.max(along + root(along * along + across * across), 1));
    let lowest = 0, highest = 2 ** turnBits - 1;
    while (lowest < highest) {
      const middle = (lowest + highest + 1) >> 1;
      if (tangent(2 * middle - 2 ** turnBits, turnBits) <= half) lowest = middle; else highest = middle - 1;
    }
    return rotationOf(first, second, lowest, poleBits, turnBits, needle);
  }
  function turned(quat, turns) {
    const [a, b, c] = turns.map(one => clip(one, -MAX_TURN, MAX_TURN)), [w, x, y, z] = quat;
    return unit(rounded(TURN * w - a * x - b * y - c * z, TURN), rounded(TURN * x + a * w + b * z - c * y, TURN),
      rounded(TURN * y - a * z + b * w + c * x, TURN), rounded(TURN * z + a * y - b * x + c * w, TURN));
  }

  // scenes
  const FIELDS = { positions: 3, scales: 3, quats: 4, opacities: 1, colors: 3 };
  class Scene {
    constructor(count, terms) {
      this.count = count; this.terms = terms;
      for (const [name, width] of Object.entries(FIELDS)) this[name] = new Float64Array(width * count);
      this.rest = new Float64Array(terms * count);
      this.moved = new Uint8Array(count).fill(2); this.changed = this.moved.slice();
      this.loose = new Uint8Array(count); // off the lattice until the next key
      this.found = null;
    }
    near() { return this.found || (this.found = before(this.positions, this.count)); }
    copy() {
      const made = Object.assign(Object.create(Scene.prototype), this);
      for (const name of [...Object.keys(FIELDS), 'rest', 'moved', 'changed', 'loose']) made[name] = this[name].slice();
      made.found = null;
      return made;
    }
    take(rows) {
      const made = new Scene(rows.length, this.terms);
      for (const [name, width] of [...Object.entries(FIELDS), ['rest', this.terms], ['moved', 1], ['changed', 1], ['loose', 1]]) {
        for (let i = 0; i < rows.length; i++) for (let k = 0; k < width; k++) made[name][i * width + k] = this[name][rows[i] * width + k];
      }
      return made;
    }
  }
  function joined(one, other) {
    const made = new Scene(one.count + other.count, one.terms);
    for (const name of [...Object.keys(FIELDS), 'rest']) { made[name].set(one[name]); made[name].set(other[name], one[name].length); }
    return made;
  }
  function inOrder(scene, quality) {
    const step = positionStep(quality), rows = new Uint32Array(scene.count), highs = new Float64Array(scene.count), lows = new Float64Array(scene.count);
    for (let row = 0; row < scene.count; row++) {
      const cell = axis => over(scene.positions[3 * row + axis], step) + MIDDLE;
      const x = cell(0), y = cell(1), z = cell(2);
      rows[row] = row; highs[row] = high(x, y, z); lows[row] = low(x, y, z);
    }
    return scene.take(rows.sort((a, b) => highs[a] - highs[b] || lows[a] - lows[b] || a - b));
  }
  function snappedOpacity(value, step) {
    const count = clip(over(2 * value + step, 2 * step), step <= 2 * LEAST ? 1 : 0, over(MOST, step));
    return Math.max(count * step, LEAST);
  }
  const snappedColor = (value, step) => over(2 * clip(value, -MAX_COLOR, MAX_COLOR) + step, 2 * step) * step;

  function whole(parts, count, terms, quality) {
    const scene = new Scene(count, terms);
    if (!count) return scene;
    const cells = octree(parts[0], count), step = positionStep(quality);
    for (let i = 0; i < 3 * count; i++) scene.positions[i] = (cells[i] - MIDDLE) * step;
    const near = scene.near(), limit = 8 * MAX_COLOR;
    const numbers = (part, steps, columns, around) => summedUp(table(parts[part], near, count, columns), around, steps, count, columns, limit);
    scene.scales = numbers(1, new Float64Array(3 * count).fill(scaleStep(quality)), 3, near).map(u => clip(u, 1, MAX_U));
    const [bits, needles] = rotationBits(scene.scales, count, quality), turns = trees(parts[2], bits, needles);
    const opacitySteps = new Float64Array(count), colors = new Float64Array(3 * count), rest = new Float64Array(terms * count);
    for (let row = 0; row < count; row++) {
      scene.quats.set(rotationOf(turns[3 * row], turns[3 * row + 1], turns[3 * row + 2], bits[3 * row], bits[3 * row + 2], needles[row]), 4 * row);
      opacitySteps[row] = opacityStep(scene.scales, row, quality);
    }
    scene.opacities = numbers(3, opacitySteps, 1, near).map(one => clip(one, LEAST, MOST));
    for (let row = 0; row < count; row++) {
      const [luma, more] = lumas(scene.scales, scene.opacities[row], row, quality);
      colorSteps(luma, 1, colors, 3 * row); colorSteps(more, terms / 3, rest, terms * row);
    }
    scene.colors = numbers(4, colors, 3, near);
    scene.rest = numbers(5, rest, terms, null);
    return scene;
  }

  function renamed(scene, row) { // axes in falling order of their scales
    const s = scene.scales, at = 3 * row;
    let [w, x, y, z] = scene.quats.subarray(4 * row, 4 * row + 4), swapped = false;
    const names = [0, 1, 2];
    for (const first of [0, 1, 0]) if (s[at + first] < s[at + first + 1]) {
      [s[at + first], s[at + first + 1]] = [s[at + first + 1], s[at + first]];
      [names[first], names[first + 1]] = [names[first + 1], names[first]];
      [w, x, y, z] = first ? [w - x, x + w, y + z, z - y] : [w - z, x + y, y - x, z + w];
      swapped = true;
    }
    return swapped ? unit(w, x, y, z) : [w, x, y, z];
  }
  function onLattice(scene, rows, quality) {
    for (const row of rows) {
      const quat = renamed(scene, row), own = scene.scales.subarray(3 * row, 3 * row + 3);
      const [bits, needles] = rotationBits(own, 1, quality);
      scene.quats.set(snappedRotation(quat, bits[0], bits[2], needles[0]), 4 * row);
      scene.opacities[row] = snappedOpacity(scene.opacities[row], opacityStep(scene.scales, row, quality));
      const zeros = new Int32Array(1 + 3 + scene.terms);
      look(scene, row, zeros, 1, quality, true);
    }
  }
  function look(scene, row, sent, at, quality, key) { // colors, once the opacity is known
    const steps = lumas(scene.scales, scene.opacities[row], row, quality);
    for (const [values, step, from, place, count] of [[scene.colors, steps[0], 3 * row, at, 3], [scene.rest, steps[1], scene.terms * row, at + 3, key ? scene.terms : 0]]) {
      const wide = chroma(step);
      for (let k = 0; k < count; k++) {
        const one = k % 3 ? wide : step, placed = value => key ? snappedColor(value, one) : clip(value, -MAX_COLOR, MAX_COLOR);
        values[from + k] = placed(placed(values[from + k]) + 4 * one * sent[place + k]);
      }
    }
  }
  const rowsOf = marks => { const rows = []; marks.forEach((mark, row) => { if (mark) rows.push(row); }); return rows; };
  function picked(values, rows) {
    const out = new Float64Array(3 * rows.length);
    rows.forEach((row, i) => { for (let k = 0; k < 3; k++) out[3 * i + k] = values[3 * row + k]; });
    return out;
  }
  function changed(parts, scene, quality, key) {
    const near = scene.near(), made = scene.copy();
    made.moved = flags(parts[0], near, scene.moved);
    let rows = rowsOf(made.moved);
    if (rows.length) move(parts, scene, made, rows, quality); else made.found = near;
    if (key) { onLattice(made, rowsOf(made.loose), quality); made.loose.fill(0); }
    made.changed = flags(parts[4], near, scene.changed);
    rows = rowsOf(made.changed);
    if (!rows.length) return made;
    const columns = 4 + (key ? scene.terms : 0);
    const sent = table(parts[5], before(picked(made.positions, rows), rows.length), rows.length, columns);
    rows.forEach((row, i) => {
      const step = opacityStep(made.scales, row, quality), at = i * columns;
      const dim = key && made.opacities[row] === LEAST ? 0 : made.opacities[row], lit = dim + 3 * step * sent[at];
      made.opacities[row] = key ? snappedOpacity(lit, step) : clip(lit, LEAST, MOST);
      look(made, row, sent, at + 1, quality, key);
      if (!key) made.loose[row] = 1;
    });
    return made;
  }
  function move(parts, scene, made, rows, quality) {
    const count = rows.length, yuv = picked(scene.colors, rows), rgb = new Float64Array(3 * count);
    for (let i = 0; i < count; i++) {
      const [y, u, v] = yuv.subarray(3 * i, 3 * i + 3), green = 4 * y - u - v;
      rgb[3 * i] = Math.floor((4 * v + green) / 4); rgb[3 * i + 1] = Math.floor(green / 4); rgb[3 * i + 2] = Math.floor((4 * u + green) / 4);
    }
    const alike = nearest(picked(scene.positions, rows), rgb, count, 64, 4);
    const moveSteps = new Float64Array(3 * count), turnSteps = new Float64Array(3 * count);
    rows.forEach((row, i) => {
      const [long, , short] = sizes(scene.scales, row);
      moveSteps.fill(positionStep(quality) * (scene.opacities[row] < 1448 ? 8 : 4), 3 * i, 3 * i + 3);
      turnSteps.fill(stepOf(98 - quality - quarterLog(Math.max(long - short, 1)), 25, 52), 3 * i, 3 * i + 3);
    });
    const moves = summedUp(table(parts[1], alike, count, 3), alike, moveSteps, count, 3, Infinity);
    const turns = summedUp(table(parts[2], alike, count, 3), alike, turnSteps, count, 3, Infinity);
    const growth = table(parts[3], alike, count, 3), step = positionStep(quality), width = scaleStep(quality);
    const most = (Math.min(over(REACH, step), MIDDLE) - 1) * step;
    rows.forEach((row, i) => {
      for (let k = 0; k < 3; k++) {
        made.positions[3 * row + k] = clip(made.positions[3 * row + k] + clip(moves[3 * i + k], -2 * REACH, 2 * REACH), -most, most);
        made.scales[3 * row + k] = clip(made.scales[3 * row + k] + growth[3 * i + k] * width, width, over(MAX_U, width) * width);
      }
      made.quats.set(turned([...made.quats.subarray(4 * row, 4 * row + 4)], [...turns.subarray(3 * i, 3 * i + 3)]), 4 * row);
      made.loose[row] = 1;
    });
  }

  // packets
  const CRC = Uint32Array.from({ length: 256 }, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xEDB88320 : n >>> 1; return n >>> 0; });
  function checksum(data) {
    let crc = 0xFFFFFFFF;
    for (let i = 0; i < data.length; i++) crc = CRC[(crc ^ data[i]) & 255] ^ (crc >>> 8);
    return (crc ^ 0xFFFFFFFF) >>> 0;
  }
  function unpacked(data, maxGaussians) {
    expect(data.length >= PART_HEADER + 4, 'cut');
    const view = new DataView(data.buffer, data.byteOffset, data.length), end = data.length - 4;
    expect(data[0] === 71 && data[1] === 83, 'not a scene packet');
    expect(data[2] === 1, `version ${data[2]}`);
    expect(checksum(data.subarray(0, end)) === view.getUint32(end, true), 'checksum');
    const packet = { kind: data[3], quality: data[4], degree: data[5], count: view.getUint32(6, true), parts: [] };
    expect(packet.kind >= 1 && packet.kind <= 3 && packet.quality < 32 && packet.degree < 4, 'header');
    expect(packet.count <= maxGaussians, `${packet.count} Gaussians`);
    for (let at = PART_HEADER; at < end;) {
      let length = 0, shift = 0, byte;
      do {
        expect(at < end && shift <= 28, 'lengths');
        byte = data[at++]; length += (byte & 127) * 2 ** shift; shift += 7;
      } while (byte > 127);
      expect(length <= end - at, 'lengths');
      packet.parts.push(data.subarray(at, at + length));
      at += length;
    }
    return packet;
  }

  class SceneDecoder {
    constructor({ chained = false, maxGaussians = 1000000 } = {}) {
      this.chained = chained; this.maxGaussians = maxGaussians; this.key = this.last = this.frame = null; this.quality = 0;
    }
    // One packet (Uint8Array); what is refused throws, and leaves what is held as it was.
    take(data) {
      const packet = unpacked(data, this.maxGaussians), parts = packet.parts;
      if (packet.kind === 1) {
        expect(parts.length === 7 && parts[0].length === 16, 'parts');
        const view = new DataView(parts[0].buffer, parts[0].byteOffset, 16), frame = [0, 4, 8, 12].map(at => view.getFloat32(at, true));
        expect(frame.every(Number.isFinite) && frame[0] > 0, 'frame');
        this.key = this.last = whole(parts.slice(1), packet.count, TERMS[packet.degree], packet.quality);
        this.frame = frame; this.quality = packet.quality;
        return packet.kind;
      }
      expect(this.key, 'nothing is held yet');
      expect(packet.quality === this.quality && TERMS[packet.degree] === this.key.terms, 'another stream');
      const held = this.chained ? this.last : this.key;
      if (packet.kind === 3) {
        expect(parts.length === 6 && packet.count === this.key.count, 'parts');
        this.last = changed(parts, held, this.quality, false);
        return packet.kind;
      }
      expect(parts.length === 14 && parts[7].length === 4, 'parts');
      const alive = flags(parts[0], held.near(), new Uint8Array(held.count).fill(2));
      const born = new DataView(parts[7].buffer, parts[7].byteOffset, 4).getUint32(0, true), kept = held.take(rowsOf(alive));
      expect(packet.count === kept.count + born, 'counts');
      const scene = changed(parts.slice(1, 7), kept, this.quality, true);
      this.key = this.last = inOrder(joined(scene, whole(parts.slice(8), born, held.terms, this.quality)), this.quality);
      return packet.kind;
    }
    // {means, quats (wxyz), scales, opacities, sh}: Float32Arrays of what to show; null before the first.
    values() {
      const scene = this.last;
      if (!scene) return null;
      const [length, ...origin] = this.frame, unitLength = length / 65536, count = scene.count, coefficients = 1 + scene.terms / 3;
      const made = { means: new Float32Array(3 * count), quats: new Float32Array(4 * count), scales: new Float32Array(3 * count),
        opacities: new Float32Array(count), sh: new Float32Array(3 * coefficients * count) };
      for (let row = 0; row < count; row++) {
        for (let k = 0; k < 3; k++) {
          const u = scene.scales[3 * row + k];
          made.means[3 * row + k] = scene.positions[3 * row + k] * unitLength + origin[k];
          made.scales[3 * row + k] = (u + u * u * u / 33554432) * unitLength;
        }
        const q = scene.quats.subarray(4 * row, 4 * row + 4), norm = Math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
        for (let k = 0; k < 4; k++) made.quats[4 * row + k] = q[k] / norm;
        made.opacities[row] = scene.opacities[row] / 4096;
        for (let c = 0; c < coefficients; c++) {
          const from = c ? scene.rest : scene.colors, at = c ? scene.terms * row + 3 * (c - 1) : 3 * row;
          const y = from[at], u = from[at + 1], v = from[at + 2], green = 4 * y - u - v, to = 3 * (coefficients * row + c);
          made.sh[to] = (4 * v + green) / 8192; made.sh[to + 1] = green / 8192; made.sh[to + 2] = (4 * u + green) / 8192;
        }
      }
      return made;
    }
  }
  const made = { SceneDecoder, Damaged };
  if (typeof module !== 'undefined' && module.exports) module.exports = made;
  else globalThis.igsStream = made;
})();
