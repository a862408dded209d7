// @ts-check
/**
 * The colour of an input element: its channel's, shaded by where in the channel it lies.
 *
 * Channels differ in lightness as well as in hue, so they stay apart in greyscale and for colour-blind eyes; rows
 * shade the lightness a little, columns turn the hue. Oklch after Ottosson, "A perceptual color space for image
 * processing", 2020. explain/story/colour.py is its twin.
 */

/** Lightness, chroma and hue (degrees) of each channel; the seventh begins anew. */
export const CHANNELS = [
  [0.82, 0.14, 80],
  [0.63, 0.105, 185],
  [0.45, 0.15, 272],
  [0.91, 0.045, 230],
  [0.36, 0.1, 25],
  [0.72, 0.15, 355],
];

/** @param {number} v @returns {string} two hexadecimal digits of a linear light value */
function byte(v) {
  const c = Math.min(Math.max(v, 0), 1);
  const s = c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055;
  return Math.floor(s * 255 + 0.5)
    .toString(16)
    .padStart(2, "0");
}

/** @param {number} L @param {number} C @param {number} h degrees @returns {string} #rrggbb */
export function oklch(L, C, h) {
  const a = C * Math.cos((h * Math.PI) / 180);
  const b = C * Math.sin((h * Math.PI) / 180);
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const red = 4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s;
  const green = -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s;
  const blue = -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s;
  return `#${byte(red)}${byte(green)}${byte(blue)}`;
}

/**
 * @param {number} channel
 * @param {number} row 0 for the first row shown to 1 for the last
 * @param {number} column likewise
 * @returns {string} #rrggbb
 */
export function tint(channel, row = 0.5, column = 0.5) {
  const [L, C, h] = CHANNELS[channel % CHANNELS.length];
  return oklch(L + 0.06 - 0.12 * row, C, h - 16 + 32 * column);
}

/** Black or white: what reads better on a colour. @param {string} hex */
export function ink(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const v = parseInt(hex.slice(i, i + 2), 16) / 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.183 ? "#040609" : "#ffffff";
}
