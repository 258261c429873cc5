//! Where boxes and labels go: layer by layer from the start, few crossings, no overlaps.
//!
//! The usual four steps: turn arrows that lead back, put every box below all that lead to it,
//! order each layer by its neighbours, move each item towards its neighbours. Labels are items of
//! their own between the layers of boxes, so they never lie on anything.

/// Space between two neighbours in a layer, and between two layers.
const GAP_X: f64 = 22.0;
const GAP_Y: f64 = 16.0;

/// Rounds of ordering and of moving. More change nothing that can be seen.
const ROUNDS: usize = 24;

/// Something with a size that has a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Centre.
    pub x: f64,
    /// Centre.
    pub y: f64,
    pub width: f64,
    pub height: f64,
    layer: usize,
    /// How strongly it wants to be straight above or below its neighbours.
    weight: f64,
}

/// An arrow to lay out.
pub(super) struct Link {
    pub from: usize,
    pub to: usize,
    /// Size of its label; zero for none.
    pub label: (f64, f64),
}

/// The result.
pub(super) struct Layout {
    /// The boxes, then everything between.
    pub items: Vec<Item>,
    /// For each link the items that it passes, its ends included, in the arrow's direction; empty
    /// for a link from a box to itself.
    pub routes: Vec<Vec<usize>>,
    /// For each link the item that holds its label.
    pub labels: Vec<Option<usize>>,
    pub width: f64,
    pub height: f64,
}

/// Lays out boxes of the given sizes, the first of the reading at `start`.
pub(super) fn lay_out(sizes: &[(f64, f64)], links: &[Link], start: usize) -> Layout {
    let turned = turned(sizes.len(), links, start);
    let rank = ranks(sizes.len(), links, &turned);
    let mut layout = Layout {
        items: sizes
            .iter()
            .zip(&rank)
            .map(|((width, height), rank)| Item {
                x: 0.0,
                y: 0.0,
                width: *width,
                height: *height,
                layer: rank * 2,
                weight: 1.0,
            })
            .collect(),
        routes: Vec::new(),
        labels: Vec::new(),
        width: 0.0,
        height: 0.0,
    };
    for (link, turned) in links.iter().zip(&turned) {
        layout.add(link, *turned);
    }
    let mut layers = layout.order(start);
    layout.place(&mut layers);
    layout
}

/// Returns which links lead back to where the walk from the start came from.
fn turned(count: usize, links: &[Link], start: usize) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; count];
    let mut turned = vec![false; links.len()];
    for root in std::iter::once(start).chain(0..count) {
        if marks.get(root).is_none_or(|mark| *mark != Mark::New) {
            continue;
        }
        marks[root] = Mark::Open;
        // Each entry: a box, and the next of all links to look at.
        let mut walk = vec![(root, 0)];
        while let Some((at, next)) = walk.last_mut() {
            let Some(index) = (*next..links.len()).find(|index| links[*index].from == *at) else {
                marks[*at] = Mark::Done;
                walk.pop();
                continue;
            };
            *next = index + 1;
            let to = links[index].to;
            match marks[to] {
                Mark::Open => turned[index] = true,
                Mark::New => {
                    marks[to] = Mark::Open;
                    walk.push((to, 0));
                }
                Mark::Done => {}
            }
        }
    }
    turned
}

/// Returns each box's row: below all that lead to it.
fn ranks(count: usize, links: &[Link], turned: &[bool]) -> Vec<usize> {
    let down: Vec<(usize, usize)> = links
        .iter()
        .zip(turned)
        .filter(|(link, _)| link.from != link.to)
        .map(|(link, turned)| {
            if *turned {
                (link.to, link.from)
            } else {
                (link.from, link.to)
            }
        })
        .collect();
    let mut rank = vec![0; count];
    // Without circles this settles after at most as many rounds as there are boxes.
    for _ in 0..count {
        let mut settled = true;
        for (above, below) in &down {
            if rank[*below] <= rank[*above] {
                rank[*below] = rank[*above] + 1;
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    rank
}

impl Layout {
    /// Adds what a link needs between its ends.
    fn add(&mut self, link: &Link, turned: bool) {
        if link.from == link.to {
            self.routes.push(Vec::new());
            self.labels.push(None);
            return;
        }
        let (above, below) = if turned {
            (link.to, link.from)
        } else {
            (link.from, link.to)
        };
        let (first, last) = (self.items[above].layer + 1, self.items[below].layer);
        // The label stands where the arrow begins.
        let label_layer = if turned { last - 1 } else { first };
        let mut route = vec![above];
        let mut label = None;
        for layer in first..last {
            let holds_label = layer == label_layer && link.label.0 > 0.0;
            let (width, height) = if holds_label { link.label } else { (6.0, 0.0) };
            if holds_label {
                label = Some(self.items.len());
            }
            route.push(self.items.len());
            self.items.push(Item {
                x: 0.0,
                y: 0.0,
                width,
                height,
                layer,
                weight: 3.0,
            });
        }
        route.push(below);
        if turned {
            route.reverse();
        }
        self.routes.push(route);
        self.labels.push(label);
    }

    /// Returns each item's neighbours above and below.
    fn neighbours(&self) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let mut above = vec![Vec::new(); self.items.len()];
        let mut below = vec![Vec::new(); self.items.len()];
        for pair in self.routes.iter().flat_map(|route| route.windows(2)) {
            let (a, b) = if self.items[pair[0]].layer < self.items[pair[1]].layer {
                (pair[0], pair[1])
            } else {
                (pair[1], pair[0])
            };
            below[a].push(b);
            above[b].push(a);
        }
        (above, below)
    }

    /// Orders each layer so that few lines cross.
    fn order(&self, start: usize) -> Vec<Vec<usize>> {
        let (above, below) = self.neighbours();
        let count = self
            .items
            .iter()
            .map(|item| item.layer + 1)
            .max()
            .unwrap_or(0);
        let mut layers = vec![Vec::new(); count];
        let mut seen = vec![false; self.items.len()];
        for root in std::iter::once(start).chain(0..self.items.len()) {
            let mut open = vec![root];
            while let Some(index) = open.pop() {
                if seen.get(index).is_none_or(|seen| *seen) {
                    continue;
                }
                seen[index] = true;
                layers[self.items[index].layer].push(index);
                open.extend(below[index].iter().rev());
            }
        }
        let mut best = layers.clone();
        let mut fewest = crossings(&layers, &below, self.items.len());
        for round in 0..ROUNDS {
            let order = positions(&layers, self.items.len());
            let neighbours = if round % 2 == 0 { &above } else { &below };
            let rows: Vec<usize> = if round % 2 == 0 {
                (0..count).collect()
            } else {
                (0..count).rev().collect()
            };
            let mut order = order;
            for row in rows {
                let mut keyed: Vec<(f64, usize)> = layers[row]
                    .iter()
                    .map(|index| {
                        (
                            mean(&neighbours[*index], |n| order[n]).unwrap_or(order[*index]),
                            *index,
                        )
                    })
                    .collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                layers[row] = keyed.into_iter().map(|(_, index)| index).collect();
                for (place, index) in layers[row].iter().enumerate() {
                    order[*index] = float(place);
                }
            }
            let now = crossings(&layers, &below, self.items.len());
            if now < fewest {
                fewest = now;
                best.clone_from(&layers);
            }
        }
        best
    }

    /// Gives every item its place.
    fn place(&mut self, layers: &mut [Vec<usize>]) {
        let (above, below) = self.neighbours();
        let mut y = GAP_Y;
        for layer in layers.iter() {
            let height = layer
                .iter()
                .map(|i| self.items[*i].height)
                .fold(0.0, f64::max);
            for index in layer {
                self.items[*index].y = y + height / 2.0;
            }
            y += height + GAP_Y;
        }
        self.height = y;
        for layer in layers.iter() {
            let mut x = 0.0;
            for index in layer {
                let item = &mut self.items[*index];
                item.x = x + item.width / 2.0;
                x += item.width + GAP_X;
            }
        }
        for round in 0..ROUNDS {
            let mut rows: Vec<usize> = (0..layers.len()).collect();
            if round % 2 == 1 {
                rows.reverse();
            }
            for row in rows {
                let wishes: Vec<f64> = layers[row]
                    .iter()
                    .map(|index| {
                        let near = above[*index].iter().chain(&below[*index]).copied();
                        let near: Vec<usize> = near.collect();
                        mean(&near, |n| self.items[n].x).unwrap_or(self.items[*index].x)
                    })
                    .collect();
                self.settle(&layers[row], &wishes);
            }
        }
        let left = self
            .items
            .iter()
            .map(|item| item.x - item.width / 2.0)
            .fold(f64::MAX, f64::min);
        let mut width = 0.0_f64;
        for item in &mut self.items {
            item.x += GAP_X - left;
            width = width.max(item.x + item.width / 2.0 + GAP_X);
        }
        self.width = width;
    }

    /// Moves a layer's items as near to where they wish to be as their order and sizes allow: the
    /// least sum of squares, found by pooling neighbours that want to pass each other.
    fn settle(&mut self, layer: &[usize], wishes: &[f64]) {
        let mut offset = 0.0;
        let mut offsets = Vec::with_capacity(layer.len());
        for (place, index) in layer.iter().enumerate() {
            if place > 0 {
                let before = &self.items[layer[place - 1]];
                offset += f64::midpoint(before.width, self.items[*index].width) + GAP_X;
            }
            offsets.push(offset);
        }
        // Each pool: the sum of weighted wishes, the sum of weights, how many items.
        let mut pools: Vec<(f64, f64, usize)> = Vec::new();
        for ((index, wish), offset) in layer.iter().zip(wishes).zip(&offsets) {
            let weight = self.items[*index].weight;
            pools.push(((wish - offset) * weight, weight, 1));
            while let [.., (sum_a, weight_a, _), (sum_b, weight_b, _)] = pools.as_slice()
                && sum_a / weight_a > sum_b / weight_b
            {
                let last = pools.pop().expect("there are two");
                let pool = pools.last_mut().expect("there is one more");
                *pool = (pool.0 + last.0, pool.1 + last.1, pool.2 + last.2);
            }
        }
        let mut places = pools
            .iter()
            .flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, *count));
        for (index, offset) in layer.iter().zip(offsets) {
            self.items[*index].x = places.next().unwrap_or(0.0) + offset;
        }
    }
}

/// Returns each item's place in its layer.
fn positions(layers: &[Vec<usize>], count: usize) -> Vec<f64> {
    let mut order = vec![0.0; count];
    for layer in layers {
        for (place, index) in layer.iter().enumerate() {
            order[*index] = float(place);
        }
    }
    order
}

/// Counts the lines that cross.
fn crossings(layers: &[Vec<usize>], below: &[Vec<usize>], count: usize) -> usize {
    let order = positions(layers, count);
    let mut total = 0;
    for layer in layers {
        let lines: Vec<(f64, f64)> = layer
            .iter()
            .flat_map(|index| below[*index].iter().map(|to| (order[*index], order[*to])))
            .collect();
        for (place, a) in lines.iter().enumerate() {
            total += lines[place + 1..]
                .iter()
                .filter(|b| (a.0 < b.0) && (a.1 > b.1))
                .count();
        }
    }
    total
}

/// Returns the mean over some items, unless there are none.
fn mean(items: &[usize], value: impl Fn(usize) -> f64) -> Option<f64> {
    (!items.is_empty())
        .then(|| items.iter().map(|item| value(*item)).sum::<f64>() / float(items.len()))
}

/// Returns a count as a coordinate.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of boxes are far below 2^52"
)]
fn float(count: usize) -> f64 {
    count as f64
}
