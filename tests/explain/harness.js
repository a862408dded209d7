/* What the page's modules say about geometries, as plain data: run by node and by the browser, compared with Python. */

// eslint-disable-next-line no-unused-vars
function answer(lib, cases) {
  const { Geometry, Numbers, Scene, Story, sampleOf, WIDE, NARROW, ALL, ways, refusal, tint, ink, fastCorrelation, textOf } = lib;

  const numbers = (g) => ({
    P: g.P, E: g.E, reach: g.reach, m: g.m, n: g.n, k: g.k, flops: g.flops, unrolled: g.unrolled,
    duplication: g.duplication, x_shape: g.xShape, w_shape: g.wShape, y_shape: g.yShape,
  });

  const story = (g, way, pass, budget) => {
    const scene = new Scene(g, budget, { panel: 3, group: g.G - 1, image: g.B - 1 });
    const told = way.tell ? way.tell(scene, pass) : new Story(scene, way, pass);
    const values = told.valuesAt(told.steps.length - 1);
    const cells = told.boards.cells.filter((c) => told.results.includes(c.board) && c.kind === "element");
    return {
      steps: told.steps.length,
      ends: cells.map((c) => [c.name, values[c.id] ?? 0]),
      // Every sum that hovering writes out gives the element it is written for.
      sums: cells.every((c) => {
        const sum = told.sum(c.id);
        const drawn = sum.terms.reduce((total, t) => total + (t.left === null ? 1 : t.left) * t.right, 0);
        return Math.abs(drawn + sum.rest - sum.total) < 1e-9 && Math.abs(sum.total - (values[c.id] ?? 0)) < 1e-9;
      }),
    };
  };

  // The boards of a story of tiles at its end, sheet by sheet.
  const tiles = (g, m) => {
    const told = ALL.find((way) => way.name === `winograd ${m}`).tell(new Scene(g, WIDE), "forward");
    const values = told.valuesAt(told.steps.length - 1);
    const boards = Object.keys(told.boards.planes).filter((key) => !told.boards.planes[key].bench);
    return Object.fromEntries(boards.map((key) => [key, told.boards.all(key).map((cell) => values[cell.id] ?? 0)]));
  };

  return cases.map(({ fields, small, matrices, m }) => {
    if (matrices) {
      const { AT, G, BT } = fastCorrelation(...matrices);
      return [AT, G, BT].map((matrix) => matrix.map((row) => row.map((f) => textOf(f).replace("\u2212", "-"))));
    }
    if (m) return tiles(new Geometry(fields), m);
    const g = new Geometry(fields);
    let error = null;
    try {
      Geometry.of(fields);
    } catch (thrown) {
      error = thrown.message;
    }
    if (error) return { error };
    const found = {
      error,
      text: String(g),
      numbers: numbers(g),
      grad_input: g.gradInput().fields,
      grad_weight: g.gradWeight().fields,
      phases: g
        .phases()
        .filter((p) => [...p.geometry.F, ...p.geometry.P].every(Boolean))
        .map((p) => ({ ...p, geometry: p.geometry.fields })),
      ways: ways(g, 3),
      wide: sampleOf(g, WIDE),
      narrow: sampleOf(g, NARROW),
      tints: [tint(0, 0, 1), tint(g.C % 6, 0.25, 0.5)].map((colour) => [colour, ink(colour)]),
    };
    if (!small) return found;
    const all = new Numbers(g);
    const board = new Story(new Scene(g, WIDE), ALL[0], "forward").boards;
    return {
      ...found,
      y: all.all("y"),
      dx: all.all("dx"),
      dw: all.all("dw"),
      U: board.all("U").map((cell) => [cell.row, cell.col, board.given(cell.id), cell.tint]),
      stories: ALL.flatMap((way) =>
        ["forward", "input", "weight"]
          .filter((pass) => refusal(way, g, pass) === null)
          .map((pass) => ({ way: way.name, pass, ...story(g, way, pass, g.C % 2 ? WIDE : NARROW) })),
      ),
    };
  });
}
