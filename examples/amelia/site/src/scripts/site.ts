// The menu on small screens.
const menu = document.querySelector<HTMLButtonElement>('.menu');
menu?.addEventListener('click', () => {
  const open = menu.getAttribute('aria-expanded') !== 'true';
  menu.setAttribute('aria-expanded', String(open));
});

// Buttons that copy their text, such as the address on the Visit page.
for (const button of document.querySelectorAll<HTMLButtonElement>('[data-copy]')) {
  const label = button.textContent;
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy ?? '');
      button.textContent = 'Copied to clipboard';
    } catch {
      button.textContent = 'Please copy it by hand';
    }
    setTimeout(() => (button.textContent = label), 2000);
  });
}
