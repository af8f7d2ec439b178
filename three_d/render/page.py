"""The page of the viewer: style and script, with nothing from the network. WebGL 1, which every browser has."""

STYLE = """
:root{color-scheme:light dark;--paper:#f5f5f2;--ink:#222;--faint:#777;--line:#ccc;--on:#2b62d9}
@media(prefers-color-scheme:dark){:root{--paper:#1d1e20;--ink:#eee;--faint:#999;--line:#444;--on:#7aa2ff}}
*{box-sizing:border-box}html,body{height:100%;margin:0}
body{background:var(--paper);color:var(--ink);font:14px/1.4 system-ui,sans-serif;display:flex;flex-direction:column}
#stage{position:relative;flex:1;min-height:0}
canvas{position:absolute;inset:0;width:100%;height:100%;touch-action:none;cursor:grab;outline:none}
canvas:active{cursor:grabbing}canvas:focus-visible{box-shadow:inset 0 0 0 2px var(--on)}
#still{position:absolute;inset:0;margin:auto;max-width:100%;max-height:100%}
#told{position:absolute;left:12px;top:10px;max-width:70%;pointer-events:none}
#told b{font-size:16px}#told div{color:var(--faint)}
#bar{display:flex;flex-wrap:wrap;gap:6px;padding:8px 12px;border-top:1px solid var(--line);align-items:center}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:6px;padding:3px 10px;
cursor:pointer}
button[aria-pressed=true]{border-color:var(--on);color:var(--on)}button:focus-visible{outline:2px solid var(--on)}
label{color:var(--faint);display:flex;gap:6px;align-items:center}input{width:90px}
#strip{display:flex;gap:6px;padding:0 12px 8px;overflow-x:auto}#strip button{padding:2px;flex:none}
#strip img{width:72px;height:72px;display:block;border-radius:4px}#strip:empty{display:none}
[hidden]{display:none!important}
"""

BODY = """
<div id="stage"><img id="still" alt=""><canvas id="view" tabindex="0" role="img"></canvas>
<div id="told"><b></b><div></div></div></div>
<div id="bar"><button id="wire" aria-pressed="false">Wireframe</button>
<button id="spin" aria-pressed="false">Turn</button><button id="reset">Reset</button>
<label>Light
<input id="light" type="range" min="-180" max="180" value="-35" aria-label="direction of the light"></label>
<button id="glb">Download GLB</button><button id="png">Save picture</button></div>
<div id="strip"></div>
"""

SCRIPT = r"""
"use strict";
// GLB -> {position, normal, colour (linear, 16 bits) or null, index, low, high}
function parse(buffer) {
  const view = new DataView(buffer), size = view.getUint32(12, true);
  const tree = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, size)));
  const base = 28 + size, primitive = tree.meshes[0].primitives[0];
  const kinds = {5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array}, wide = {SCALAR: 1, VEC3: 3, VEC4: 4};
  const read = number => {
    const a = tree.accessors[number], v = tree.bufferViews[a.bufferView];
    return new kinds[a.componentType](buffer, base + (v.byteOffset || 0), a.count * wide[a.type]);
  };
  const a = primitive.attributes, corner = tree.accessors[a.POSITION];
  return {position: read(a.POSITION), normal: read(a.NORMAL), index: read(primitive.indices),
          colour: "COLOR_0" in a ? read(a.COLOR_0) : null, low: corner.min, high: corner.max};
}
// every edge of the triangles once, as pairs of vertices
function edges(index) {
  const seen = new Set(), found = [];
  for (let i = 0; i < index.length; i += 3) for (let k = 0; k < 3; k++) {
    const a = index[i + k], b = index[i + (k + 1) % 3], low = Math.min(a, b), high = Math.max(a, b);
    const key = low * 4294967296 + high;
    if (!seen.has(key)) { seen.add(key); found.push(low, high); }
  }
  return new Uint32Array(found);
}
// rows of the camera: right, up, back; the angles are those of fewstep.three_d.render.raster.Camera
function axes(azimuth, elevation) {
  const [sa, ca, se, ce] = [Math.sin(azimuth), Math.cos(azimuth), Math.sin(elevation), Math.cos(elevation)];
  return [[ca, 0, -sa], [-sa * se, ce, -ca * se], [sa * ce, se, ca * ce]];
}
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
// column-major matrix from the object to clip space
function matrix(camera, aspect) {
  const rows = axes(camera.azimuth, camera.elevation), d = camera.distance, f = 1 / Math.tan(camera.fov / 2);
  const moved = rows.map(row => -dot(row, camera.target));
  moved[2] -= d;
  const near = d * 0.05, far = d * 8, wide = f / Math.max(aspect, 1e-6), tall = f;
  const [sx, sy] = aspect >= 1 ? [wide, tall] : [f, f * aspect];
  const z = (near + far) / (near - far), w = 2 * near * far / (near - far), out = new Float32Array(16);
  for (let k = 0; k < 3; k++) {
    out[4 * k] = sx * rows[0][k]; out[4 * k + 1] = sy * rows[1][k];
    out[4 * k + 2] = z * rows[2][k]; out[4 * k + 3] = -rows[2][k];
  }
  out[12] = sx * moved[0]; out[13] = sy * moved[1]; out[14] = z * moved[2] + w; out[15] = -moved[2];
  return out;
}
function bytes(text) { return Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer; }

const VERTEX = `attribute vec3 position, normal; attribute vec4 colour;
uniform mat4 matrix; uniform highp float line; varying vec3 n, tint;
void main() {
  gl_Position = matrix * vec4(position, 1.0);
  gl_Position.z -= 0.002 * line * gl_Position.w;  // edges lie before their faces
  n = normal; tint = colour.rgb;
}`;
const FRAGMENT = `precision highp float; varying vec3 n, tint; uniform vec3 key, fill, up; uniform highp float line;
void main() {
  if (line > 0.5) { gl_FragColor = vec4(0.1, 0.15, 0.3, 1.0); return; }
  vec3 u = normalize(n);
  float light = 0.22 + 0.13 * dot(u, up) + 0.75 * max(dot(u, key), 0.0) + 0.16 * max(dot(u, fill), 0.0);
  vec3 c = clamp(tint * light * 1.25, 0.0, 1.0);
  gl_FragColor = vec4(mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c)), 1.0);
}`;

function start() {
  const at = id => document.getElementById(id), shapes = JSON.parse(at("shapes").textContent), canvas = at("view");
  const gl = canvas.getContext("webgl", {antialias: true, alpha: true, preserveDrawingBuffer: true});
  let chosen = 0, wire = false, spin = false, drawn = null, asked = false;
  const home = () => ({azimuth: Math.PI / 6, elevation: 0.38, distance: 3, fov: Math.PI / 6, target: [0, 0, 0]});
  let camera = home();
  const tell = () => {
    const shape = shapes[chosen];
    at("told").children[0].textContent = shape.name;
    at("told").children[1].textContent = shape.facts;
    canvas.setAttribute("aria-label", shape.name);
    at("still").src = shape.picture; at("still").alt = shape.name;
    [...at("strip").children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === chosen)));
  };
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob); link.download = name; link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  at("glb").onclick = () => {
    save(new Blob([bytes(shapes[chosen].glb)], {type: "model/gltf-binary"}), shapes[chosen].file + ".glb");
  };
  if (shapes.length > 1) shapes.forEach((shape, i) => {
    const button = document.createElement("button"), image = document.createElement("img");
    image.src = shape.picture; image.alt = shape.name; button.title = shape.name;
    button.append(image); button.onclick = () => { chosen = i; tell(); load(); };
    at("strip").append(button);
  });
  if (!gl || !gl.getExtension("OES_element_index_uint")) {
    canvas.hidden = true;
    for (const id of ["wire", "spin", "reset", "png"]) at(id).hidden = true;
    at("light").parentElement.hidden = true;
    load = () => {};
    tell();
    return;
  }
  at("still").hidden = true;
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text); gl.compileShader(shader); gl.attachShader(program, shader);
  }
  gl.linkProgram(program); gl.useProgram(program);
  const uniform = name => gl.getUniformLocation(program, name);
  const buffers = [];
  const fill = (target, data) => {
    const buffer = gl.createBuffer(); buffers.push(buffer);
    gl.bindBuffer(target, buffer); gl.bufferData(target, data, gl.STATIC_DRAW);
    return buffer;
  };
  const feed = (name, data, size, kind, normalised) => {
    const place = gl.getAttribLocation(program, name);
    if (place < 0) return;
    if (data === null) {
      gl.disableVertexAttribArray(place); gl.vertexAttrib4f(place, 0.5225, 0.5225, 0.5225, 1);
      return;
    }
    fill(gl.ARRAY_BUFFER, data); gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, kind, normalised, 0, 0);
  };
  function load() {
    buffers.splice(0).forEach(buffer => gl.deleteBuffer(buffer));
    const mesh = parse(bytes(shapes[chosen].glb));
    feed("position", mesh.position, 3, gl.FLOAT, false);
    feed("normal", mesh.normal, 3, gl.FLOAT, false);
    feed("colour", mesh.colour, 4, gl.UNSIGNED_SHORT, true);
    const index = new Uint32Array(mesh.index);
    drawn = {faces: fill(gl.ELEMENT_ARRAY_BUFFER, index), count: index.length, index, lines: null};
    const half = mesh.low.map((v, k) => (mesh.high[k] - v) / 2);
    camera = home();
    camera.target = mesh.low.map((v, k) => v + half[k]);
    camera.distance = Math.hypot(...half) / Math.sin(camera.fov / 2) * 0.95;
    drawn.home = {...camera, target: [...camera.target]};
    draw();
  }
  function paint() {
    asked = false;
    const ratio = window.devicePixelRatio || 1;
    const wide = canvas.clientWidth * ratio | 0, tall = canvas.clientHeight * ratio | 0;
    if (canvas.width !== wide || canvas.height !== tall) { canvas.width = wide; canvas.height = tall; }
    gl.viewport(0, 0, wide, tall); gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST); gl.enable(gl.CULL_FACE);
    gl.uniformMatrix4fv(uniform("matrix"), false, matrix(camera, wide / Math.max(tall, 1)));
    const rows = axes(camera.azimuth, camera.elevation), turn = at("light").value * Math.PI / 180;
    const world = v => [0, 1, 2].map(k => v[0] * rows[0][k] + v[1] * rows[1][k] + v[2] * rows[2][k]);
    const unit = v => v.map(x => x / Math.hypot(...v));
    gl.uniform3fv(uniform("key"), world(unit([0.8 * Math.sin(turn), 0.65, 0.8 * Math.cos(turn)])));
    gl.uniform3fv(uniform("fill"), world(unit([0.8, 0.1, 0.5])));
    gl.uniform3fv(uniform("up"), [0, 1, 0]);
    gl.uniform1f(uniform("line"), 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, drawn.faces);
    gl.drawElements(gl.TRIANGLES, drawn.count, gl.UNSIGNED_INT, 0);
    if (wire) {
      if (!drawn.lines) { drawn.pairs = edges(drawn.index); drawn.lines = fill(gl.ELEMENT_ARRAY_BUFFER, drawn.pairs); }
      gl.uniform1f(uniform("line"), 1);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, drawn.lines);
      gl.drawElements(gl.LINES, drawn.pairs.length, gl.UNSIGNED_INT, 0);
    }
    if (spin) { camera.azimuth += 0.012; draw(); }
  }
  function draw() { if (!asked) { asked = true; requestAnimationFrame(paint); } }
  const orbit = (x, y) => {
    camera.azimuth -= x * 0.008;
    camera.elevation = Math.max(-1.55, Math.min(1.55, camera.elevation + y * 0.008));
    draw();
  };
  const pan = (x, y) => {
    const rows = axes(camera.azimuth, camera.elevation);
    const step = camera.distance * 0.54 / Math.max(canvas.clientHeight, 1);
    camera.target = camera.target.map((v, k) => v - step * x * rows[0][k] + step * y * rows[1][k]);
    draw();
  };
  const zoom = factor => {
    const d = drawn.home.distance;
    camera.distance = Math.max(0.15 * d, Math.min(6 * d, camera.distance * factor));
    draw();
  };
  const held = new Map();
  canvas.onpointerdown = e => { canvas.setPointerCapture(e.pointerId); held.set(e.pointerId, [e.clientX, e.clientY]); };
  canvas.onpointerup = canvas.onpointercancel = e => held.delete(e.pointerId);
  canvas.onpointermove = e => {
    const before = held.get(e.pointerId);
    if (!before) return;
    const now = [e.clientX, e.clientY], x = now[0] - before[0], y = now[1] - before[1];
    if (held.size === 1) { (e.buttons & 2 || e.shiftKey ? pan : orbit)(x, y); }
    else if (held.size === 2) {
      const other = [...held].find(([id]) => id !== e.pointerId)[1];
      const gap = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
      zoom(gap(before) / Math.max(gap(now), 1)); pan(x / 2, y / 2);
    }
    held.set(e.pointerId, now);
  };
  canvas.oncontextmenu = e => e.preventDefault();
  const wheel = e => { e.preventDefault(); zoom(Math.exp(e.deltaY * (e.deltaMode ? 0.03 : 0.001))); };
  canvas.addEventListener("wheel", wheel, {passive: false});
  const reset = () => { camera = {...drawn.home, target: [...drawn.home.target]}; draw(); };
  canvas.ondblclick = reset; at("reset").onclick = reset;
  canvas.onkeydown = e => {
    const keys = {ArrowLeft: () => orbit(15, 0), ArrowRight: () => orbit(-15, 0), ArrowUp: () => orbit(0, 15),
      ArrowDown: () => orbit(0, -15), "+": () => zoom(0.9), "=": () => zoom(0.9), "-": () => zoom(1.1),
      w: () => at("wire").click(), r: reset};
    if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
  };
  at("wire").onclick = () => { wire = !wire; at("wire").setAttribute("aria-pressed", String(wire)); draw(); };
  at("spin").onclick = () => { spin = !spin; at("spin").setAttribute("aria-pressed", String(spin)); draw(); };
  at("light").oninput = draw;
  at("png").onclick = () => { paint(); canvas.toBlob(blob => save(blob, shapes[chosen].file + ".png")); };
  new ResizeObserver(draw).observe(canvas);
  tell(); load();
}
if (typeof document !== "undefined") start();
else module.exports = {parse, edges, axes, matrix};
"""
