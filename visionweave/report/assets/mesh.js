"use strict";

/* Drawing meshes with vertex colours: one WebGL context for the whole page, since browsers give a
   page only some of them. Each view is a plain canvas that a drawn mesh is copied to. */
visionweave.mesh = (() => {
  const FIELD = (30 * Math.PI) / 180; // the vertical field of view
  const FLAT = 1200; // meshes of fewer faces have edges that are meant, and are drawn with them

  const VERTEX = `#version 300 es
    layout(location = 0) in vec3 corner;
    layout(location = 1) in vec3 colour;
    layout(location = 2) in vec3 normal;
    uniform mat3 turn;
    uniform vec3 middle;
    uniform vec4 lens; // focal length over aspect, focal length, distance, reach
    out vec3 paint;
    out vec3 facing;
    out vec3 seen;
    void main() {
      seen = turn * (corner - middle);
      facing = turn * normal;
      paint = colour;
      float depth = lens.z - seen.z; // from the camera
      float near = max(lens.z - lens.w, 0.01);
      float far = lens.z + lens.w;
      gl_Position = vec4(seen.x * lens.x, seen.y * lens.y,
                         (depth * (far + near) - 2.0 * far * near) / (far - near), depth);
    }`;

  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 paint;
    in vec3 facing;
    in vec3 seen;
    uniform bool flat_faces;
    out vec4 result;
    void main() {
      vec3 n = flat_faces ? cross(dFdx(seen), dFdy(seen)) : facing;
      n = normalize(length(n) > 0.0 ? n : vec3(0.0, 0.0, 1.0));
      if (n.z < -0.2) n = -n; // faces seen from within
      float key = max(dot(n, normalize(vec3(-0.45, 0.75, 0.75))), 0.0);
      float fill = max(dot(n, normalize(vec3(0.8, 0.1, 0.5))), 0.0);
      float sky = 0.5 + 0.5 * n.y;
      vec3 light = vec3(0.36) + 0.62 * key + 0.14 * fill + 0.12 * sky;
      vec3 linear = pow(paint, vec3(2.2)) * light;
      result = vec4(pow(min(linear, 1.0), vec3(1.0 / 2.2)), 1.0);
    }`;

  let canvas = null;
  let gl = null;
  let uniforms = null;
  let broken = false;

  /** Whether this browser draws in 3D; asked first, it sets that up. */
  function works() {
    if (gl || broken) return !broken;
    canvas = document.createElement("canvas");
    gl = canvas.getContext("webgl2", { antialias: true, alpha: true, premultipliedAlpha: true });
    broken = !gl || !compile();
    canvas.addEventListener("webglcontextlost", () => {
      broken = true;
    });
    return !broken;
  }

  function compile() {
    const program = gl.createProgram();
    for (const [kind, text] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return false;
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    uniforms = Object.fromEntries(
      ["turn", "middle", "lens", "flat_faces"].map((name) => [
        name,
        gl.getUniformLocation(program, name),
      ]),
    );
    return true;
  }

  /** Unpack a mesh (see visionweave/report/meshes.py) and hand it to the graphics card. */
  function upload(form) {
    const text = atob(form.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const colours = form.vertices * 6;
    const faces = Math.ceil((form.vertices * 9) / 4) * 4;
    const mesh = {
      corners: new Uint16Array(bytes.buffer, 0, form.vertices * 3),
      colours: new Uint8Array(bytes.buffer, colours, form.vertices * 3),
      faces: new Uint32Array(bytes.buffer, faces, form.faces * 3),
      middle: form.size.map((side) => side / 2),
      flat: form.faces < FLAT,
    };
    mesh.radius = radiusOf(mesh);
    mesh.array = gl.createVertexArray();
    gl.bindVertexArray(mesh.array);
    mesh.buffers = [
      attribute(0, mesh.corners, gl.UNSIGNED_SHORT),
      attribute(1, mesh.colours, gl.UNSIGNED_BYTE),
      attribute(2, normalsOf(mesh), gl.FLOAT),
      buffer(gl.ELEMENT_ARRAY_BUFFER, mesh.faces),
    ];
    gl.bindVertexArray(null);
    mesh.count = mesh.faces.length;
    mesh.corners = mesh.colours = mesh.faces = null; // the card has them
    return mesh;
  }

  /** The distance of the farthest corner from the middle. */
  function radiusOf({ corners, middle }) {
    let most = 0;
    for (let i = 0; i < corners.length; i += 3) {
      const [x, y, z] = [
        corners[i] / 65535 - middle[0],
        corners[i + 1] / 65535 - middle[1],
        corners[i + 2] / 65535 - middle[2],
      ];
      most = Math.max(most, x * x + y * y + z * z);
    }
    return Math.sqrt(most);
  }

  function buffer(target, data) {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, data, gl.STATIC_DRAW);
    return made;
  }

  function attribute(place, data, type) {
    const made = buffer(gl.ARRAY_BUFFER, data);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, type, type !== gl.FLOAT, 0, 0);
    return made;
  }

  /** Normals of the corners: the sum of those of their faces, which counts large faces more. */
  function normalsOf({ corners, faces }) {
    const normals = new Float32Array(corners.length);
    for (let i = 0; i < faces.length; i += 3) {
      const [a, b, c] = [3 * faces[i], 3 * faces[i + 1], 3 * faces[i + 2]];
      const [ux, uy, uz] = [
        corners[b] - corners[a],
        corners[b + 1] - corners[a + 1],
        corners[b + 2] - corners[a + 2],
      ];
      const [vx, vy, vz] = [
        corners[c] - corners[a],
        corners[c + 1] - corners[a + 1],
        corners[c + 2] - corners[a + 2],
      ];
      const [x, y, z] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const at of [a, b, c]) {
        normals[at] += x;
        normals[at + 1] += y;
        normals[at + 2] += z;
      }
    }
    for (let i = 0; i < normals.length; i += 3) {
      const length = Math.hypot(normals[i], normals[i + 1], normals[i + 2]) || 1;
      for (let k = 0; k < 3; k++) normals[i + k] /= length;
    }
    return normals;
  }

  /** Draw a mesh into a canvas. pose: {yaw, pitch} in radians, zoom. */
  function draw(mesh, { yaw, pitch, zoom }, target) {
    const [w, h] = [target.width, target.height];
    if (!w || !h || broken) return;
    if (canvas.width < w || canvas.height < h) {
      canvas.width = Math.max(canvas.width, w);
      canvas.height = Math.max(canvas.height, h);
    }
    const narrow = Math.min(1, w / h);
    const distance = ((mesh.radius / Math.sin(FIELD / 2) / narrow) * 1.04) / zoom;
    const focus = 1 / Math.tan(FIELD / 2);
    gl.viewport(0, canvas.height - h, w, h);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(uniforms.turn, false, rotation(yaw, pitch));
    gl.uniform3fv(uniforms.middle, mesh.middle);
    gl.uniform4f(uniforms.lens, (focus * h) / w, focus, distance, mesh.radius * 1.02);
    gl.uniform1i(uniforms.flat_faces, mesh.flat ? 1 : 0);
    gl.bindVertexArray(mesh.array);
    gl.drawElements(gl.TRIANGLES, mesh.count, gl.UNSIGNED_INT, 0);
    gl.bindVertexArray(null);
    const context = target.getContext("2d");
    context.clearRect(0, 0, w, h);
    context.drawImage(canvas, 0, 0, w, h, 0, 0, w, h);
  }

  /** First about the upright axis, then towards the viewer; by columns. */
  function rotation(yaw, pitch) {
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    return [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
  }

  function free(mesh) {
    gl.deleteVertexArray(mesh.array);
    mesh.buffers.forEach((each) => gl.deleteBuffer(each));
  }

  return { works, upload, draw, free };
})();
