// Loads the page again once the session serves another build. Hidden pages listen to
// nothing, so that many tabs do not use up a browser's connections.
(() => {
  const { build, events } = document.currentScript.dataset;
  let stream, again;
  const close = () => {
    clearTimeout(again);
    stream?.close();
    stream = undefined;
  };
  const open = () => {
    if (stream || document.visibilityState !== 'visible') return;
    stream = new EventSource(events);
    stream.addEventListener('status', ({ data }) => {
      const status = JSON.parse(data);
      if (status.phase !== 'ready' || !status.build || status.build === build) return;
      close();
      location.reload();
    });
    stream.addEventListener('error', () => {
      if (stream.readyState !== EventSource.CLOSED) return;
      close();
      again = setTimeout(open, 5000);
    });
  };
  document.addEventListener('visibilitychange', () => (document.visibilityState === 'visible' ? open() : close()));
  addEventListener('pagehide', close);
  addEventListener('pageshow', open);
  open();
})();
