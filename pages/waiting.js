(function () {
  var main = document.querySelector('main')
  var list = main.querySelector('ol')
  var items = Array.from(list.children)
  var said = main.querySelector('[role=status]')
  var late = main.querySelector('.late')
  var details = main.querySelector('details')
  var output = details.querySelector('pre')
  var elapsed = document.getElementById('elapsed')
  var left = document.getElementById('left')
  var expected = 0
  var started = performance.now() - main.dataset.elapsed
  var since = performance.now()
  var begun = []
  var present = items.findIndex(function (li) { return li.dataset.state === 'active' })
  var known = false
  var lines = output.textContent.split('\n').filter(Boolean)
  var errors = 0
  var leaving = false
  var source

  function put(li, name, text) { li.querySelector(name).textContent = text }

  function time(ms) {
    return (ms < 9950 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)) + ' s'
  }

  // As wordsLeft.
  function remaining(ms) {
    var words = left.dataset
    var s = Math.round(ms / 1000)
    if (s < 8) return s < -5 ? words.longer : words.soon
    return s < 90 ? words.left.replace('#', Math.ceil(s / 5) * 5) : words.minutes.replace('#', Math.round(s / 60))
  }

  function leave(wait) {
    if (leaving) return
    leaving = true
    if (source) source.close()
    setTimeout(function () { location.reload() }, wait)
  }

  // Loads the page again at once, unless that has led back here several times within seconds.
  function turn() {
    var wait = 0
    try {
      var key = 'webordinary ' + location.pathname
      var now = Date.now()
      var turns = JSON.parse(sessionStorage.getItem(key) || '[]').filter(function (t) { return now - t < 15000 })
      if (turns.length > 3) wait = 3000
      turns.push(now)
      sessionStorage.setItem(key, JSON.stringify(turns.slice(-9)))
    } catch (e) {
      wait = performance.now() < 1500 ? 1000 : 0
    }
    leave(wait)
  }

  function write() {
    lines = lines.slice(-20)
    details.hidden = !lines.length
    var low = output.scrollTop + output.clientHeight > output.scrollHeight - 30
    output.textContent = lines.map(function (l) {
      return String(l).replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').slice(0, 300)
    }).join('\n')
    if (low) output.scrollTop = output.scrollHeight
  }

  function show(s) {
    var phase = s.phase === 'claimed' || s.phase === 'stopping' ? 'starting' : s.phase
    // Nothing is waking it: what is it then?
    if (!phase || phase === 'failed') return turn()
    var at = items.findIndex(function (li) { return li.dataset.phase === phase })
    if (at < 0) return
    var total = s.totalMillis || performance.now() - started
    started = performance.now() - total
    if (at !== present || !known) {
      begun[at] = total - (s.phaseMillis || 0)
      since = started + begun[at]
    }
    items.forEach(function (li, i) {
      var state = i < at || phase === 'ready' ? 'done' : i === at ? 'active' : 'pending'
      li.dataset.state = state
      put(li, '.vh', list.dataset[state] || '')
      put(li, 'small', i === at ? (s.step || '') + (s.percent >= 0 ? ' ' + s.percent + ' %' : '') : state === 'done' && (s.reused || []).includes(li.dataset.reuse) ? list.dataset.reused : '')
      if (state === 'active') li.setAttribute('aria-current', 'step')
      else li.removeAttribute('aria-current')
      var took = begun[i + 1] - begun[i]
      put(li, 'time', state === 'done' && took >= 0 ? time(took) : '')
    })
    expected = s.expectedTotalMillis || 0
    var was = present
    present = at
    known = true
    if (s.log) { lines = s.log; write() }
    tick()
    // Said once for each phase, not with each second.
    if (at !== was) said.textContent = items[at].querySelector('span').textContent + '. ' + left.textContent
    if (phase === 'ready') turn()
  }

  function tick() {
    var now = performance.now()
    elapsed.textContent = Math.floor((now - started) / 1000)
    if (known && items[present].dataset.state === 'active') put(items[present], 'time', time(now - since))
    if (known) {
      left.textContent = expected ? remaining(expected - now + started) : ''
      left.hidden = !expected
    }
    if (now - started > Math.max(120000, 1.5 * expected)) late.hidden = false
  }

  function told(handle) {
    return function (event) {
      errors = 0
      handle(JSON.parse(event.data))
    }
  }

  setInterval(tick, 100)
  if (!window.EventSource || !main.dataset.events) return leave(3000)
  source = new EventSource(main.dataset.events)
  source.addEventListener('status', told(show))
  source.addEventListener('log', told(function (l) { lines.push(l.line); write() }))
  source.onerror = function () {
    if (++errors >= 3 || source.readyState === EventSource.CLOSED) leave(3000)
  }
})()
