// What is drawn over the picture: boxes with their numbers, and patch maps in their place.

export const HOT = [255, 0, 128]; // no skin has it, and it differs from skin in lightness for every eye
const PIXEL = window.devicePixelRatio || 1;

export class Overlay {
  constructor(canvas, video, facts) {
    this.canvas = canvas;
    this.video = video;
    this.facts = facts;
    this.cells = document.createElement("canvas");
    this.shows = { boxes: true, map: true, smooth: false };
    this.opacity = 0.5;
    this.threshold = 0.15;
    this.picked = null;
  }

  // Where the picture lies within the stage, in CSS pixels.
  place() {
    const stage = this.canvas.parentElement.getBoundingClientRect();
    const width = this.facts.width || this.video.videoWidth || 16;
    const height = this.facts.height || this.video.videoHeight || 9;
    const scale = Math.min(stage.width / width, stage.height / height);
    return {
      stage,
      scale,
      x: (stage.width - width * scale) / 2,
      y: (stage.height - height * scale) / 2,
      width: width * scale,
      height: height * scale,
    };
  }

  // Draws faces; those whose sample is another moment than the one shown get a dashed box and no map.
  draw(faces, us, tolerance) {
    const at = this.place();
    const { canvas } = this;
    canvas.width = Math.round(at.stage.width * PIXEL);
    canvas.height = Math.round(at.stage.height * PIXEL);
    canvas.style.width = `${at.stage.width}px`;
    canvas.style.height = `${at.stage.height}px`;
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, canvas.width, canvas.height);
    for (const face of faces) {
      const isNow = Math.abs(face.pts - us) <= tolerance;
      if (this.shows.map && face.map && isNow) this.drawMap(pen, face.map, at);
    }
    pen.setTransform(PIXEL, 0, 0, PIXEL, 0, 0);
    for (const face of faces) {
      if (this.shows.boxes) this.drawBox(pen, face, at, Math.abs(face.pts - us) <= tolerance);
    }
  }

  drawMap(pen, map, at) {
    const { grid, crop, matrix } = map;
    paintCells(this.cells, map, this.threshold, this.opacity);
    const [a, b, c, d, e, f] = matrix;
    const step = (crop / grid) * at.scale * PIXEL;
    const toPixels = at.scale * PIXEL;
    pen.setTransform(
      a * step, d * step, b * step, e * step, c * toPixels + at.x * PIXEL, f * toPixels + at.y * PIXEL
    );
    pen.imageSmoothingEnabled = this.shows.smooth;
    pen.drawImage(this.cells, 0, 0);
  }

  drawBox(pen, face, at, isNow) {
    const [x, y, w, h] = face.box;
    const box = [at.x + x * at.width, at.y + y * at.height, w * at.width, h * at.height];
    pen.setLineDash(isNow ? [] : [6, 5]);
    pen.lineWidth = face.ordinal === this.picked ? 6 : 4;
    pen.strokeStyle = "#000";
    pen.strokeRect(...box);
    pen.lineWidth = face.ordinal === this.picked ? 4 : 2;
    pen.strokeStyle = this.facts.colours[face.ordinal % this.facts.colours.length];
    pen.strokeRect(...box);
    pen.setLineDash([]);
    pen.font = "600 14px system-ui, sans-serif";
    const text = isNow ? `${face.ordinal}` : `${face.ordinal} (near)`;
    const width = pen.measureText(text).width + 10;
    const top = Math.max(at.y, box[1] - 20);
    pen.fillStyle = this.facts.colours[face.ordinal % this.facts.colours.length];
    pen.fillRect(box[0], top, width, 20);
    pen.fillStyle = "#000";
    pen.fillText(text, box[0] + 5, top + 15);
  }
}

// One pixel for each cell, more opaque the likelier it is manipulated, clear below the threshold.
export function paintCells(canvas, map, threshold, opacity) {
  const { grid, cells } = map;
  canvas.width = grid;
  canvas.height = grid;
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(grid, grid);
  for (let i = 0; i < cells.length; i += 1) {
    const share = cells[i] / 255;
    picture.data.set([...HOT, share < threshold ? 0 : Math.round(255 * share * opacity)], 4 * i);
  }
  pen.putImageData(picture, 0, 0);
}
