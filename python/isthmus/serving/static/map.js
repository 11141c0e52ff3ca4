// Items as points on a canvas that zooms and pans, with the names of the best known that have room.
const REACH = 14; // pixels around a point that pick it
const MOST_NAMES = 24;

export class ItemMap {
  #canvas;
  #context;
  #items = [];
  #marks = { rated: new Set(), listed: new Set(), picked: undefined };
  #view = { x: 0, y: 0, scale: 1 };
  #pointers = new Map();
  #moved = 0;
  #hovered = null;
  #queued = false;
  #onPick;
  #onCentre;

  constructor(canvas, { onPick, onCentre }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#onPick = onPick;
    this.#onCentre = onCentre;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.#place(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.#release(event));
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.#viewChanged());
  }

  setItems(items) {
    this.#items = items; // the best known first
    this.#draw();
  }

  mark(marks) {
    this.#marks = marks;
    this.#draw();
  }

  reset() {
    this.#view = { x: 0, y: 0, scale: 1 };
    this.#viewChanged();
  }

  zoom(factor, [x, y] = this.#middle()) {
    const scale = Math.min(Math.max(this.#view.scale * factor, 0.8), 200);
    const change = scale / this.#view.scale;
    const [centreX, centreY] = this.#middle();
    this.#view.x = (this.#view.x + centreX - x) * change - centreX + x;
    this.#view.y = (this.#view.y + centreY - y) * change - centreY + y;
    this.#view.scale = scale;
    this.#viewChanged();
  }

  // Move an item to the centre.
  showItem(id) {
    const item = this.#items.find((one) => one.item === id);
    if (!item) return;
    this.#view.scale = Math.max(this.#view.scale, 4);
    const [x, y] = this.#at(item);
    const [centreX, centreY] = this.#middle();
    this.#view.x += centreX - x;
    this.#view.y += centreY - y;
    this.#viewChanged();
  }

  // Geometry

  #middle() {
    return [this.#canvas.clientWidth / 2, this.#canvas.clientHeight / 2];
  }

  #at({ x, y }) {
    const [centreX, centreY] = this.#middle();
    const { scale, x: right, y: down } = this.#view;
    return [centreX + right + x * scale * centreX * 0.94, centreY + down - y * scale * centreY * 0.94];
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #nearest([x, y], reach) {
    let best = null;
    let least = reach ** 2;
    for (const item of this.#items) {
      const [itemX, itemY] = this.#at(item);
      const distance = (itemX - x) ** 2 + (itemY - y) ** 2;
      if (distance < least) [best, least] = [item, distance];
    }
    return best;
  }

  // What people do

  #press(event) {
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, this.#place(event));
    this.#moved = this.#pointers.size > 1 ? Infinity : 0;
  }

  #move(event) {
    const place = this.#place(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) return this.#hover(this.#nearest(place, REACH));
    const [dx, dy] = [place[0] - before[0], place[1] - before[1]];
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, place);
    if (other) {
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      return this.zoom(apart(place) / Math.max(apart(before), 1), [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2]);
    }
    this.#moved += Math.hypot(dx, dy);
    this.#pan(dx, dy);
  }

  #release(event) {
    const alone = this.#pointers.delete(event.pointerId) && this.#pointers.size === 0;
    if (!alone || this.#moved > 5 || event.type === "pointercancel") return;
    const item = this.#nearest(this.#place(event), REACH);
    if (item) this.#onPick(item);
  }

  #key(event) {
    const pans = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in pans) this.#pan(...pans[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.reset();
    else if (event.key === "Enter") {
      const item = this.#nearest(this.#middle(), Infinity);
      if (item) this.#onPick(item);
    } else return;
    event.preventDefault();
  }

  #pan(dx, dy) {
    this.#view.x += dx;
    this.#view.y += dy;
    this.#viewChanged();
  }

  #hover(item) {
    if (item === this.#hovered) return;
    this.#hovered = item;
    this.#canvas.style.cursor = item ? "pointer" : "";
    this.#draw();
  }

  #viewChanged() {
    const focused = document.activeElement === this.#canvas && this.#canvas.matches(":focus-visible");
    this.#onCentre(focused ? this.#nearest(this.#middle(), Infinity) : null);
    this.#draw();
  }

  // Drawing, once for all that changed since the last frame

  #draw() {
    if (this.#queued) return;
    this.#queued = true;
    requestAnimationFrame(() => {
      this.#queued = false;
      this.#paint();
    });
  }

  #paint() {
    const canvas = this.#canvas;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const dense = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const context = this.#context;
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    const inside = this.#items
      .map((item) => [item, ...this.#at(item)])
      .filter(([, x, y]) => x > -20 && x < width + 20 && y > -20 && y < height + 20);
    const most = Math.sqrt(this.#items[0]?.users || 1);
    const { rated, listed, picked } = this.#marks;
    const kinds = [
      [colour("point"), 0.55, ({ item }) => !rated.has(item) && !listed.has(item), 0],
      [colour("accent"), 1, ({ item }) => listed.has(item), 1.5],
      [colour("star"), 1, ({ item }) => rated.has(item), 2],
    ];
    for (const [fill, alpha, belongs, extra] of kinds) {
      context.globalAlpha = alpha;
      context.fillStyle = fill;
      for (const [item, x, y] of inside) {
        if (!belongs(item)) continue;
        context.beginPath();
        context.arc(x, y, 1.2 + extra + (3 * Math.sqrt(item.users)) / most, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.globalAlpha = 1;
    for (const [item, x, y] of inside) {
      if (item.item !== picked && item !== this.#hovered) continue;
      context.strokeStyle = colour("ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x, y, 8, 0, 2 * Math.PI);
      context.stroke();
    }
    this.#paintNames(inside, colour, style.fontFamily);
    if (document.activeElement === canvas && canvas.matches(":focus-visible")) this.#paintCross(colour("ink"));
  }

  // Names of what is pointed at or marked, then of the best known, where they overlap no other.
  #paintNames(inside, colour, font) {
    const context = this.#context;
    const { rated, listed, picked } = this.#marks;
    const weight = (item) => (item === this.#hovered ? 4 : item.item === picked ? 3 : rated.has(item.item) ? 2 : listed.has(item.item) ? 1 : 0);
    const wanted = inside.map((entry) => [weight(entry[0]), ...entry]).sort((a, b) => b[0] - a[0]);
    const taken = [];
    context.font = `12px ${font}`;
    context.textBaseline = "middle";
    context.lineJoin = "round";
    for (const [heavy, item, x, y] of wanted) {
      if (taken.length >= MOST_NAMES) break;
      const text = item.title.length > 32 ? `${item.title.slice(0, 30)}…` : item.title;
      const long = context.measureText(text).width;
      const fits = x + 13 + long < this.#canvas.clientWidth;
      const left = fits ? x + 9 : Math.max(4, x - 9 - long);
      const box = [left - 4, y - 9, left + long + 4, y + 9];
      if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
      taken.push(box);
      context.lineWidth = 4;
      context.strokeStyle = colour("card");
      context.strokeText(text, left, y);
      context.fillStyle = heavy ? colour("ink") : colour("muted");
      context.fillText(text, left, y);
    }
  }

  #paintCross(ink) {
    const context = this.#context;
    const [x, y] = this.#middle();
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx, y + 5 * dy);
      context.lineTo(x + 14 * dx, y + 14 * dy);
    }
    context.stroke();
  }
}
