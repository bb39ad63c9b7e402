import { mount } from 'svelte';
import App from './App.svelte';
import './styles.css';
import { theme } from './state/theme.svelte';

theme.apply();
mount(App, { target: document.body });
