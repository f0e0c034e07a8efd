// The rater's page. What is shown next is the server's to say; the page shows
// it pixel for pixel and sends scores until the server has answered.
'use strict';

const BLANK = 250; // ms of gray between images: a double press is no score,
                   // and two versions of one image do not flicker
const RETRY = 1000; // ms

const $ = (id) => document.getElementById(id);
const scores = [...$('scores').children];
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let state = {phase: 'welcome'};
let picture = null; // the image being shown
let accepting = false; // whether a score would be for that image

// ---- the server

// Asks until there is an answer; a score is sent again, which the server
// refuses where it was kept the first time, with the state as it then is.
async function ask(path, body) {
  const options = body && {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(body),
  };
  for (;;) {
    let why = 'The server does not answer. Nothing is lost; trying again…';
    try {
      const response = await fetch(path, {cache: 'no-store', ...options});
      const data = await response.json();
      if (response.status < 500) {
        trouble('');
        return {status: response.status, data};
      }
      why = data.error; // a full disk, or too many raters at once
    } catch (error) { /* no connection, or one that broke off */ }
    trouble(why);
    await pause(RETRY);
  }
}

function trouble(text) {
  $('trouble').textContent = text;
  $('trouble').hidden = !text;
}

// ---- the sheets

function show(id) {
  for (const main of document.querySelectorAll('main')) {
    main.hidden = main.id !== id;
  }
}

async function update(path, body, {straight = false} = {}) {
  const {status, data} = await ask(path, body);
  if (!data.phase) {
    if (status === 401) return welcome();
    return data.error;
  }
  state = data;
  if (state.phase === 'welcome') welcome();
  else if (state.phase === 'done') done();
  else if (straight) await present();
  else brief();
}

function welcome() {
  state = {phase: 'welcome'};
  accepting = false;
  $('code').value = '';
  $('wrong-code').textContent = '';
  show('welcome');
  $('start').focus();
}

function brief() {
  accepting = false;
  const begun = state.rated > 0;
  $('pause-title').textContent = begun ? 'Ready to go on?' : 'Ready?';
  $('own-code').textContent = state.code;
  $('so-far').textContent = begun ?
    `${state.rated} of ${state.images} images scored.` :
    `${state.images} images to score.`;
  $('again').hidden = state.phase !== 'rating';
  show('pause');
  $('continue').focus();
}

function done() {
  accepting = false;
  $('all').textContent = `You scored all ${state.images} images.`;
  show('done');
}

// ---- the image

async function present() {
  accepting = false;
  show('rate');
  const {phase, position, total, image} = state;
  const isExample = phase === 'example';
  $('where').textContent =
    `${isExample ? 'Example' : 'Image'} ${position + 1} of ${total}`;
  $('bar').max = total;
  $('bar').value = position;
  if (picture) picture.remove();
  $('larger').hidden = true;
  $('ask').textContent = '\u00a0';
  $('scores').classList.add('waiting');

  const [next] = await Promise.all([load(image), pause(BLANK)]);
  // Another image or sheet may have been asked for meanwhile.
  if (state.image !== image || state.position !== position) return;
  if ($('rate').hidden) return;
  if (!next) return update('state', null, {straight: true});

  picture = next;
  $('holder').append(picture);
  $('stage').scrollTo(0, 0);
  fit();
  for (const button of scores) {
    const isWanted = isExample && Number(button.value) === state.score;
    button.classList.remove('pressed');
    button.classList.toggle('wanted', isWanted);
  }
  $('scores').classList.remove('waiting');
  $('ask').textContent = isExample ?
    `This is a ${state.score}: press ${state.score}` :
    'How good does this image look?';
  $('stage').focus({preventScroll: true});
  requestAnimationFrame(() => requestAnimationFrame(() => {
    accepting = picture === next && !$('rate').hidden;
  }));
  if (state.next) new Image().src = `images/${state.next}`;
}

async function load(file) {
  const next = new Image();
  next.src = `images/${file}`;
  next.alt = state.phase === 'example' ? 'Example image' : 'Image to score';
  next.draggable = false;
  try {
    await next.decode();
    return next;
  } catch (error) { // no connection, or no longer what is to be shown
    await pause(RETRY);
    return null;
  }
}

// One pixel of the image on one of the screen. CSS pixels are devicePixelRatio
// times as large, and a box of a fraction of them may be rounded to whole ones:
// so the image keeps a CSS pixel a pixel, and is drawn that much smaller.
function fit() {
  if (!picture) return;
  const ratio = window.devicePixelRatio;
  const holder = $('holder');
  holder.style.left = holder.style.top = '0';
  holder.style.width = `${picture.naturalWidth / ratio}px`;
  holder.style.height = `${picture.naturalHeight / ratio}px`;
  picture.style.transform = `scale(${1 / ratio})`;
  const stage = $('stage');
  $('larger').hidden = stage.scrollWidth <= stage.clientWidth &&
    stage.scrollHeight <= stage.clientHeight;
  // It starts on a whole pixel, of CSS too where that can be; never further
  // left or up, where scrolling would not reach.
  const unit = [1, 2, 4, 8].find((n) => Number.isInteger(n * ratio)) ||
    1 / ratio;
  const {left, top} = holder.getBoundingClientRect();
  const shift = (x) => `${Math.ceil(x / unit - 0.001) * unit - x}px`;
  holder.style.left = shift(left);
  holder.style.top = shift(top);
}

const isZoomed = () => window.visualViewport && visualViewport.scale > 1.01;

async function score(value) {
  if (!accepting) return;
  if (isZoomed()) return trouble('Zoom out again to score: pinch together.');
  const {phase, position, image} = state;
  if (phase === 'example' && value !== state.score) {
    $('ask').textContent =
      `This is shown as a ${state.score}: press ${state.score} to go on`;
    return;
  }
  accepting = false;
  scores[value - 1].classList.add('pressed');
  $('scores').classList.add('waiting');
  const body = {position, score: value};
  if (phase === 'example') await update('example', body, {straight: true});
  else await update('rating', {...body, image}, {straight: true});
}

// ---- what the rater does

document.addEventListener('keydown', (event) => {
  const isPlain = !(event.ctrlKey || event.altKey || event.metaKey);
  if ($('rate').hidden || !isPlain || event.repeat) return;
  if (/^[1-5]$/.test(event.key)) {
    event.preventDefault();
    score(Number(event.key));
  }
});
for (const button of scores) {
  button.addEventListener('click', () => score(Number(button.value)));
}
$('start').addEventListener('click', () => update('start', {}));
$('resume').addEventListener('submit', async (event) => {
  event.preventDefault();
  const code = $('code').value.trim();
  if (!code) return $('code').focus();
  $('wrong-code').textContent = await update('resume', {code}) || '';
});
$('continue').addEventListener('click', () => {
  update('state', null, {straight: true});
});
$('again').addEventListener('click', () => update('again', {}, {straight: true}));
$('stop').addEventListener('click', () => update('state'));
for (const id of ['leave', 'next-rater']) {
  $(id).addEventListener('click', () => update('leave', {}));
}
// Also the browser's own zoom, which changes devicePixelRatio.
window.addEventListener('resize', fit);
if (window.visualViewport) {
  visualViewport.addEventListener('resize', () => {
    if (!isZoomed()) trouble('');
  });
}

update('state');
