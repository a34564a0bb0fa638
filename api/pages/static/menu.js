// On a narrow screen the menu is wider than the window: show the place where one is.

document.querySelector(".top nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
